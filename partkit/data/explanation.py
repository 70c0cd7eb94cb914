"""Why a plan's cuts are where they are, as data: what crosses each and what moving it would do."""

from __future__ import annotations

from partkit.data.document import Record


class CrossingValue(Record):
    """A value that crosses a cut."""

    name: str
    bytes: int
    source: int
    """Stage that makes it."""
    targets: tuple[int, ...]
    """Stages that read it."""


class Move(Record):
    """What moving one node over a cut would do."""

    node: str
    source: int
    target: int
    """Stages that the node would leave and enter."""
    period_s: float
    """The plan's period after the move."""
    pair_period_s: float
    """The longer period of the two stages after the move."""
    change: float
    """That period over the plan's own, less one."""


class CutExplanation(Record):
    """One cut, between stages ``before`` and ``before + 1``."""

    before: int
    values: tuple[CrossingValue, ...]
    """What crosses it, also where it only passes by on its way to a later stage."""
    bytes: int
    compute_before_s: float
    compute_after_s: float
    period_before_s: float
    period_after_s: float
    earlier: Move | None
    """Cut one node earlier: the best last node of the stage before goes to the stage after. None: no node may."""
    later: Move | None
    """Cut one node later: the best first node of the stage after goes to the stage before."""
