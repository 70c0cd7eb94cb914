"""Items that arrive at a pipeline at random times, and the highest rate at which they are served in time.

Arrivals are a Poisson process and latency counts from an item's arrival, as in MLPerf's server scenario (Reddi et al.
2020), whose early stopping is used too: a rate holds where, with 99% confidence, no more than 1% of items are late.
"""

from __future__ import annotations

import itertools
import math
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from partkit.data.units import format_rate, format_seconds
from partkit.errors import InfeasibleError
from partkit.runs.open_pipeline import Pipeline
from partkit.runs.statistics import percentile

SHARE = 0.99
"""Of items that must be served in time."""
FEWEST = 459
"""Items of a trial at least: of as many, none late says with 99% confidence that at most 1% are."""
_TRIALS = 8
"""Of a search: the rate is found to 1/200 of where it can lie."""
_LEAST_SHARE = 1 / 64
"""Of what the pipeline gives at most: where not even that holds, no rate is looked for."""

Item = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Trial:
    """A run at one rate."""

    rate_per_s: float
    """Items that arrived per second, in the mean."""
    latencies_s: Sequence[float]
    num_late: int
    holds: bool
    served_per_s: float
    """Items per second from the first arrival to the last output."""

    def __str__(self) -> str:
        p99 = format_seconds(percentile(self.latencies_s, SHARE))
        return f"{format_rate(self.rate_per_s)} items/s: {self.num_late} of {len(self.latencies_s)} late, p99 {p99}"


def may_be_late(count: int) -> int:
    """Most items of ``count`` that may be late for 99% confidence in 1% at most; -1: none are enough.

    >>> [may_be_late(count) for count in (458, 459, 662, 10_000)]
    [-1, 0, 1, 77]
    """
    late, mass, so_far = -1, count * math.log(SHARE), 0.0
    for number in range(count + 1):
        so_far += math.exp(mass)
        if so_far > 1 - SHARE:
            return late
        late = number
        mass += math.log((count - number) / (number + 1)) + math.log((1 - SHARE) / SHARE) if number < count else 0.0
    return late


def serve_at(pipeline: Pipeline, items: Sequence[Item], rate_per_s: float, count: int, limit_s: float) -> Trial:
    """``count`` items at a rate; given up once more are late than may be, which are those over ``limit_s``."""
    draw = random.Random(0)
    latencies: list[float] = []
    faults: list[BaseException] = []
    allowed, num_late = may_be_late(count) if limit_s < math.inf else count, 0
    done = threading.Semaphore(0)

    def note(due: float) -> Callable[[Any], None]:
        def noted(future: Any) -> None:
            nonlocal num_late
            if (fault := future.exception()) is not None:
                faults.append(fault)
            latencies.append(time.perf_counter() - due)
            num_late += latencies[-1] > limit_s
            done.release()

        return noted

    begin = due = time.perf_counter()
    num_sent = 0
    for item in itertools.islice(itertools.cycle(items), count):
        due += draw.expovariate(rate_per_s)
        if (left_s := due - time.perf_counter()) > 0:
            time.sleep(left_s)
        if faults or num_late > allowed:
            break
        pipeline.submit(item).add_done_callback(note(due))
        num_sent += 1
    for _ in range(num_sent):
        done.acquire()
    if faults:
        raise faults[0]
    served = num_sent / (time.perf_counter() - begin)
    return Trial(rate_per_s, latencies, num_late, num_sent == count and num_late <= allowed, served)


def most_per_s(pipeline: Pipeline, items: Sequence[Item], seconds: float) -> float:
    """Items per second that the pipeline gives when there is always another one, over about ``seconds``."""
    count, rate = 8, 0.0
    while True:
        begin = time.perf_counter()
        for _ in pipeline.map_flat(itertools.islice(itertools.cycle(items), count)):
            pass
        taken = time.perf_counter() - begin
        rate = count / taken
        if taken >= seconds / 2:
            return rate
        count = max(2 * count, math.ceil(rate * seconds))


def find_rate(
    pipeline: Pipeline,
    items: Sequence[Item],
    limit_s: float,
    seconds: float,
    told: Callable[[str, int, int], None],
) -> list[Trial]:
    """Trials by bisection, the last of which holds at the highest rate found; each of ``seconds`` or :data:`FEWEST`.

    Raises :class:`InfeasibleError` where no rate holds.
    """
    told("Finding the rate", 0, _TRIALS + 1)
    high = most_per_s(pipeline, items, seconds / 2)
    low, trials, best = 0.0, list[Trial](), None
    share = 0.9
    for number in range(_TRIALS):
        told("Finding the rate", number + 1, _TRIALS + 1)
        rate = low + (high - low) * share
        if best is None and rate < high * _LEAST_SHARE:
            break
        trial = serve_at(pipeline, items, rate, max(FEWEST, math.ceil(rate * seconds)), limit_s)
        trials.append(trial)
        if trial.holds:
            low, best = rate, trial
        else:
            high = rate
        share = 0.5
    told("Finding the rate", _TRIALS + 1, _TRIALS + 1)
    if best is None:
        fastest = trials[-1]
        raise InfeasibleError(
            f"no rate holds {format_seconds(limit_s)}: at {fastest}",
            hint="allow a longer --max-latency, or plan with fewer stages, lanes or items a microbatch",
        )
    return [*(trial for trial in trials if trial is not best), best]
