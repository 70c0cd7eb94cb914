"""How far loading is, as ranks write it down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from partkit.data.orders import Load
from partkit.data.plan import Plan
from partkit.data.progress import ProgressFile
from partkit.ranks.run_options import RunOptions, job_of
from partkit.runs.run import load_stages

PLAN = Plan.load(Path(__file__).parent.parent / "golden" / "plan.v1.json")
HALF = 10_000_000


class Group:
    """Ranks that have loaded half of their weights when they are asked how far they are."""

    def __init__(self) -> None:
        self.job = job_of(PLAN, "pipeline", RunOptions())

    def call(self, order: Load, *, while_waiting: Any) -> list[Any]:
        for rank in range(self.job.num_ranks):
            ProgressFile(Path(f"{order.progress}{rank}")).write(HALF // 2, 0)
        while_waiting()
        Path(f"{order.progress}0").write_text("1")  # in the middle of being written: what was read before counts
        while_waiting()
        return []


def test_the_bytes_of_all_ranks_are_told_of_all_that_the_plan_s_stages_hold(tmp_path):
    told: list[tuple[str, int, int]] = []
    load_stages(Group(), tmp_path, lambda *step: told.append(step))  # type: ignore[arg-type]
    total = sum(stage.param_bytes for stage in PLAN.stages)
    assert told == [("Loading stages", done, total) for done in (0, HALF, HALF, total)]
