"""What the cuts of a plan show: what crosses, how the neighbours balance, what a step either way would do."""

from __future__ import annotations

from collections.abc import Sequence

from partkit.data.explanation import CutExplanation, Move
from partkit.data.units import format_bytes, format_seconds
from partkit.reports.sheet import Cell, Column, Sheet, Table

_COLUMNS = (
    Column("cut", "cut", is_number=False),
    Column("crosses", "values", is_number=False, may_wrap=True),
    Column("bytes", "bytes"),
    Column("before", "period_before_s"),
    Column("after", "period_after_s"),
    Column("one node earlier", "earlier_change", is_number=False),
    Column("one node later", "later_change", is_number=False),
)
_SHOWN_VALUES = 3


def cuts_sheet(cuts: Sequence[CutExplanation]) -> Sheet:
    """A row for each cut, with what moves of it would do to the two stages beside it and to the plan's period."""
    return Sheet(
        tables=(Table(_COLUMNS, tuple(_row(cut) for cut in cuts)),),
        notes=("moved by one node: the slower of the two stages, the change of the plan's period, the node",),
    )


def _row(cut: CutExplanation) -> tuple[Cell, ...]:
    names = [value.name for value in cut.values]
    shown = names[:_SHOWN_VALUES] + ([f"{len(names) - _SHOWN_VALUES} more"] if len(names) > _SHOWN_VALUES else [])
    return (
        Cell(f"{cut.before} | {cut.before + 1}", cut.before),
        Cell(", ".join(shown) or "nothing", " ".join(names)),
        Cell(format_bytes(cut.bytes), cut.bytes),
        Cell(format_seconds(cut.period_before_s), cut.period_before_s),
        Cell(format_seconds(cut.period_after_s), cut.period_after_s),
        _move(cut.earlier),
        _move(cut.later),
    )


def _move(move: Move | None) -> Cell:
    if move is None:
        return Cell("no node may", "no node may")
    percent = 100 * move.change
    change = "±0%" if abs(percent) < 0.05 else f"{percent:+.1f}%"
    return Cell(f"{format_seconds(move.pair_period_s)}, {change} ({move.node})", move.change)
