"""A run that tells when each stage waited and computed, beside the same run without that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from partkit.data.job import RunJob
from partkit.data.orders import RunItems
from partkit.data.result import StageIdle
from partkit.data.timeline import CAUSES, Event
from partkit.ranks.group import Ranks
from partkit.runs.rates import overall_rate

RECORDED_ITEMS = 200
_SETTLED_AFTER = 0.2
"""Share of the items after which the pipeline is full: what stages wait for before is its filling."""


@dataclass(frozen=True)
class Recorded:
    """What a recorded run adds to a result."""

    fields: dict[str, Any]
    """Of :class:`partkit.data.result.RunResult`: ``idle`` and ``timeline``."""
    told: str
    """What recording cost."""


def record(group: Ranks[RunJob], num_items: int = RECORDED_ITEMS) -> Recorded:
    """Run ``num_items`` items without and with recording."""
    plain = overall_rate(group.call(RunItems(num_items=num_items)), group.job)[0]
    runs = group.call(RunItems(num_items=num_items, records=True))
    rate = overall_rate(runs, group.job)[0]
    first = min(run.begin for run in runs)
    events = [
        event.model_copy(update={"begin_s": event.begin_s + shift, "end_s": event.end_s + shift})
        for run in runs
        for shift in [run.begin - first]
        for event in run.events
    ]
    told = f"the timeline is of {num_items} items in a run of their own, at {rate / plain:.3f} of the rate without it"
    return Recorded({"idle": idle_shares(events, num_items), "timeline": tuple(events)}, told)


def idle_shares(events: Sequence[Event], num_items: int) -> tuple[StageIdle, ...]:
    """What each stage did with its time once the pipeline was full, by stage."""
    since = int(num_items * _SETTLED_AFTER)
    shares = []
    for stage in sorted({event.stage for event in events}):
        own = [event for event in events if event.stage == stage and event.item >= since and event.track != "send"]
        seconds = sum(event.end_s - event.begin_s for event in own) or 1.0
        busy = sum(event.end_s - event.begin_s for event in own if event.track == "compute")
        waits = {
            cause: sum(event.end_s - event.begin_s for event in own if event.cause == cause) / seconds
            for cause in CAUSES
        }
        shares.append(StageIdle(index=stage, busy=busy / seconds, **waits))
    return tuple(shares)
