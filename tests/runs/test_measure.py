"""How many items a run takes, how long it may, and what it says of itself meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from partkit.data.orders import RunItems, TimeStages
from partkit.data.plan import Plan
from partkit.data.replies import ItemsRun, StageSeconds
from partkit.ranks.run_options import RunOptions, job_of
from partkit.runs.measure import measure_group

PLAN = Plan.load(Path(__file__).parent.parent / "golden" / "plan.v1.json")
RATE = 10.0


class Group:
    """Ranks that take a tenth of a second an item."""

    def __init__(self, options: RunOptions) -> None:
        self.job = job_of(PLAN, "pipeline", options)
        self.given: list[tuple[int, bool, float | None]] = []

    def call(self, order: Any, *, timeout_s: float | None = None, while_waiting: Any = None) -> list[Any]:
        if isinstance(order, TimeStages):
            return [StageSeconds(seconds_by_place={0: 0.1})]
        assert isinstance(order, RunItems)
        self.given.append((order.num_items, order.one_at_a_time, timeout_s))
        if while_waiting is not None:
            while_waiting()
        times = [(item, item / RATE) for item in range(order.num_items)]
        return [
            ItemsRun(
                begin=0.0,
                end=order.num_items / RATE,
                busy=1.0,
                num_finished=order.num_items,
                steady_per_s=RATE,
                uses=(),
                host_peak_bytes=0,
                entered_at=tuple(times),
                finished_at=tuple((item, at + 0.1) for item, at in times),
            )
        ]


@pytest.mark.parametrize(
    ("options", "items"),
    [
        (RunOptions(items=5), 5),
        (RunOptions(seconds=3.0), 30),
        (RunOptions(items=5, seconds=3.0), 5),
        (RunOptions(items=500, seconds=3.0), 30),
        (RunOptions(), 100),
    ],
)
def test_a_run_takes_the_items_and_the_seconds_asked_for_whichever_are_over_first(options, items):
    group = Group(options)
    measure_group(group, options)
    assert [given[0] for given in group.given] == [6, items, min(items, 20)]


def test_a_run_may_take_the_time_that_it_was_given_and_the_time_out_on_top():
    options = RunOptions(seconds=1000.0, timeout_s=60.0)
    group = Group(options)
    measure_group(group, options)
    assert group.given[1] == (10_000, False, 1060.0)


def test_a_run_tells_its_steps_and_only_those_that_run():
    told: list[tuple[str, int, int]] = []
    measure_group(Group(RunOptions()), RunOptions(), tell=lambda *step: told.append(step))
    assert list(dict.fromkeys(told)) == [
        ("Timing stages", 0, 0),
        ("Warming up", 0, 1),
        ("Measuring, about 10 samples/s", 0, 10),
        ("Measuring the latency", 0, 2),
    ]
