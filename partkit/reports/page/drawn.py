"""What the drawings of a model share: its figures, its stages and the cuts between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from partkit.data.explanation import CutExplanation
from partkit.data.plan import Plan
from partkit.data.units import format_bytes
from partkit.reports.page.inside import Inside


@dataclass(frozen=True)
class Drawn:
    """What the drawing of a model needs to know of every box."""

    stage_by_node: Mapping[str, int]
    cut_texts: Mapping[int, str]
    total_s: float
    most_node_s: float
    most_bytes: int
    with_nodes: bool
    max_depth: int
    inside: Inside | None = None
    """Takes what is in boxes that show nothing of it; None: it is left out."""


class CutsReached:
    """The cuts that were drawn so far: a cut comes before the first thing of a later stage."""

    def __init__(self, reached: int = 0) -> None:
        self.reached = reached

    def before(self, stages: Sequence[int]) -> list[int]:
        """Cuts that a thing of ``stages`` has all of before it."""
        first = min(stages, default=self.reached)
        crossed = list(range(self.reached, first))
        self.reached = max(self.reached, first)
        return crossed


def cut_texts(plan: Plan | None, cuts: Sequence[CutExplanation]) -> dict[int, str]:
    """What crosses each cut, by the stage before it."""
    if plan is None:
        return {}
    explained = {cut.before: cut for cut in cuts}
    texts = {}
    for before in range(len(plan.stages) - 1):
        sends = [
            send
            for stage in plan.stages
            for send in stage.sends
            if min(stage.index, send.to) <= before < max(stage.index, send.to)
        ]
        names = list(dict.fromkeys(value for send in sends for value in send.values))
        size = explained[before].bytes if before in explained else sum(send.bytes for send in sends)
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        texts[before] = f"cut {before} | {before + 1}: {format_bytes(size)} cross{f' ({shown})' if shown else ''}"
    return texts


def heat_style(output_bytes: int, drawn: Drawn, time_share: float) -> str:
    """Both shares in percent for the style sheet, roots of them so that small ones are seen."""
    size = output_bytes / drawn.most_bytes if drawn.most_bytes else 0.0
    return f"--t:{100 * math.sqrt(min(time_share, 1.0)):.0f}%;--b:{100 * math.sqrt(size):.0f}%"
