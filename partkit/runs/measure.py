"""The timed runs of a loaded group: stage times, throughput, then latency."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from partkit.data.job import RunJob
from partkit.data.orders import RunItems, TimeStages
from partkit.data.replies import ItemsRun
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


def measure_group(group: Ranks[RunJob], options: RunOptions, reference: Path | None = None) -> Measured:
    """Stage times, a warm-up that also sets the number of items, the timed run, then single items."""
    replies = group.call(TimeStages())
    stage_s = {place: seconds for reply in replies for place, seconds in reply.seconds_by_place.items()}
    rate = overall_rate(group.call(RunItems(num_items=_WARM_ITEMS)), group.job)[0]
    if options.rate_per_s is not None:
        return _measure_at_rate(group, options, options.rate_per_s, stage_s)
    items = options.items or max(_MIN_ITEMS, math.ceil(rate * (options.seconds or _SECONDS) / group.job.fed.batch))
    order = RunItems(num_items=items)
    if items >= _LONG_RUN and reference is not None:
        # an odd step goes round all the distinct inputs
        sample = tuple(range(items - 1, -1, -(items // _SAMPLE | 1)))
        order = RunItems(num_items=items, sample=sample, reference=str(reference))
    runs = group.call(order)
    samples_per_s, steady_per_s = overall_rate(runs, group.job)
    num_single = options.items or items if options.mode == "latency" else min(options.latency_items, items)
    single = group.call(RunItems(num_items=num_single, one_at_a_time=True))
    return Measured(stage_s, runs, items, samples_per_s, steady_per_s, latencies(single))


def _measure_at_rate(
    group: Ranks[RunJob], options: RunOptions, rate_per_s: float, stage_s: dict[int, float]
) -> Measured:
    """Items that arrive as a Poisson process; their latency counts from the arrival, queueing included."""
    per_s = rate_per_s / group.job.fed.batch
    items = options.items or max(_MIN_ITEMS, math.ceil(per_s * (options.seconds or _SECONDS)))
    runs = group.call(RunItems(num_items=items, rate_per_s=per_s))
    samples_per_s, steady_per_s = overall_rate(runs, group.job)
    return Measured(stage_s, runs, items, samples_per_s, steady_per_s, latencies(runs))
