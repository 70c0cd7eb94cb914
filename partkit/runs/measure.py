"""The timed runs of a loaded group: stage times, throughput, then latency."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

from partkit.data.job import RunJob
from partkit.data.orders import RunItems, TimeStages
from partkit.data.progress import Progress, silent
from partkit.data.replies import ItemsRun
from partkit.data.units import format_rate
from partkit.ranks.group import Ranks
from partkit.ranks.run_options import RunOptions
from partkit.runs.rates import latencies, overall_rate

_LONG_RUN = 20_000
"""Items of a timed run from which on a sample of outputs is checked within it: copying them out takes time."""
_SAMPLE = 17
_WARM_ITEMS = 6
_MIN_ITEMS = 12
_SECONDS = 10.0


@dataclass(frozen=True)
class Measured:
    """A group's replies to its timed runs, by rank."""

    stage_s: dict[int, float]
    """Seconds by place."""
    runs: list[ItemsRun]
    items: int
    samples_per_s: float
    steady_per_s: float
    latencies_s: list[float]


def measure_group(
    group: Ranks[RunJob], options: RunOptions, reference: Path | None = None, tell: Progress = silent
) -> Measured:
    """Stage times, a warm-up that also sets the number of items, the timed run, then single items."""
    tell("Timing stages", 0, 0)
    replies = group.call(TimeStages())
    stage_s = {place: seconds for reply in replies for place, seconds in reply.seconds_by_place.items()}
    once_s = sum(stage_s.values())
    warm = RunItems(num_items=_WARM_ITEMS)
    rate = overall_rate(_call_for(group, warm, _WARM_ITEMS * once_s, "Warming up", tell), group.job)[0]
    if options.rate_per_s is not None:
        return _measure_at_rate(group, options, options.rate_per_s, stage_s, tell)
    items = _num_items(options, rate / group.job.fed.batch)
    order = RunItems(num_items=items)
    if items >= _LONG_RUN and reference is not None:
        # an odd step goes round all the distinct inputs
        sample = tuple(range(items - 1, -1, -(items // _SAMPLE | 1)))
        order = RunItems(num_items=items, sample=sample, reference=str(reference))
    label = f"Measuring, about {format_rate(rate)} samples/s"
    runs = _call_for(group, order, items * group.job.fed.batch / rate, label, tell)
    samples_per_s, steady_per_s = overall_rate(runs, group.job)
    num_single = items if options.mode == "latency" else min(options.latency_items, items)
    alone = RunItems(num_items=num_single, one_at_a_time=True)
    single = _call_for(group, alone, num_single * once_s, "Measuring the latency", tell)
    return Measured(stage_s, runs, items, samples_per_s, steady_per_s, latencies(single))


def _num_items(options: RunOptions, items_per_s: float) -> int:
    """As many as were asked for, or fill the time that was; where both are given, the fewer."""
    if options.items is not None and options.seconds is None:
        return options.items
    filling = max(_MIN_ITEMS, math.ceil(items_per_s * (options.seconds or _SECONDS)))
    return filling if options.items is None else min(options.items, filling)


def _call_for(group: Ranks[RunJob], order: RunItems, expected_s: float, label: str, tell: Progress) -> list[ItemsRun]:
    """Give an order that takes about ``expected_s`` (0: nobody knows), tell the seconds as they go, and wait that much
    longer."""
    begin, whole_s = time.monotonic(), math.ceil(expected_s)

    def tell_seconds() -> None:
        tell(label, min(int(time.monotonic() - begin), whole_s), whole_s)

    tell_seconds()
    return group.call(order, timeout_s=group.job.timeout_s + expected_s, while_waiting=tell_seconds)


def _measure_at_rate(
    group: Ranks[RunJob], options: RunOptions, rate_per_s: float, stage_s: dict[int, float], tell: Progress
) -> Measured:
    """Items that arrive as a Poisson process; their latency counts from the arrival, queueing included."""
    per_s = rate_per_s / group.job.fed.batch
    items = _num_items(options, per_s)
    label = f"Measuring at {format_rate(rate_per_s)} samples/s"
    runs = _call_for(group, RunItems(num_items=items, rate_per_s=per_s), items / per_s, label, tell)
    samples_per_s, steady_per_s = overall_rate(runs, group.job)
    return Measured(stage_s, runs, items, samples_per_s, steady_per_s, latencies(runs))
