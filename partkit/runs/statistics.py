"""Statistics of repeated measurements: intervals, percentiles, and when a warm-up has settled."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence

_BOOTSTRAP_ROUNDS = 2000
_ROLLING = 3
_SETTLED_WITHIN = 0.05


def bootstrap_ci95(samples: Sequence[float], *, seed: int = 0) -> tuple[float, float]:
    """95% interval of the median by resampling (Efron 1979); the single value twice for one sample.

    >>> bootstrap_ci95([5.0])
    (5.0, 5.0)
    """
    draw = random.Random(seed)
    medians = sorted(statistics.median(draw.choices(samples, k=len(samples))) for _ in range(_BOOTSTRAP_ROUNDS))
    return medians[int(0.025 * _BOOTSTRAP_ROUNDS)], medians[int(0.975 * _BOOTSTRAP_ROUNDS) - 1]


def is_settled(rates: Sequence[float]) -> bool:
    """True once the median of the last three rates is within 5% of the median of the three one step before.

    >>> is_settled([1.0, 5.0, 5.0]), is_settled([1.0, 5.0, 5.1, 5.0])
    (False, True)
    """
    if len(rates) <= _ROLLING:
        return False
    now, before = statistics.median(rates[-_ROLLING:]), statistics.median(rates[-_ROLLING - 1 : -1])
    return abs(now - before) <= _SETTLED_WITHIN * now


def percentile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank percentile.

    >>> percentile([3.0, 1.0, 2.0], 0.5)
    2.0
    """
    ordered = sorted(samples)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
