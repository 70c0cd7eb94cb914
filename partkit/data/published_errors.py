"""How far predictions were off where somebody looked: the errors that ``benchmarks/`` publish, each with its source.

An error is |predicted - measured| / measured of samples/s. Every case of the named tables is here, the bad ones too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

COVERAGE = 0.9
"""Share of cases that an interval taken from errors should hold."""
_LEAST = 0.05


@dataclass(frozen=True)
class PublishedErrors:
    """The errors of one way to run models on one kind of device, from profiles made by one method."""

    way: str
    device: str
    """cpu or cuda."""
    method: str
    """measured or analytic."""
    errors: tuple[float, ...]
    source: str

    @property
    def median(self) -> float:
        """The middle error."""
        return sorted(self.errors)[len(self.errors) // 2]

    @property
    def bound(self) -> float:
        """An error that a new case stays below with probability :data:`COVERAGE`, were it like the published ones.

        The k-th smallest of n with k = ceil(0.9 (n + 1)) (split conformal prediction); the largest where n is small.
        """
        rank = math.ceil(COVERAGE * (len(self.errors) + 1))
        return sorted(self.errors)[min(rank, len(self.errors)) - 1]


PUBLISHED = (
    PublishedErrors(
        "pipeline",
        "cuda",
        "measured",
        (
            *(0.005, 0.008, 0.026, 0.037, 0.019, 0.000, 0.013, 0.007, 0.070, 0.009, 0.051),
            *(0.052, 0.004, 0.012, 0.004, 0.002, 0.002),
            *(0.025, 0.020, 0.016, 0.035, 0.008, 0.019, 0.046, 0.048, 0.014, 0.083, 0.005, 0.872, 0.014, 0.047),
            *(0.007, 0.001, 0.002, 0.075, 0.071, 0.010, 0.027, 0.041, 0.011, 0.000),
        ),
        "benchmarks/pipeline, benchmarks/four_gpu, benchmarks/larger and benchmarks/models: two H100 or H200",
    ),
    PublishedErrors(
        "pipeline",
        "cpu",
        "measured",
        (0.048, 0.013, 0.008, 0.032, 0.095, 0.080, 0.098, 0.23, 0.11, 0.38),
        "benchmarks/cpu_pipeline: BERT-base on two cores, quiet and noisy hours",
    ),
)


@dataclass(frozen=True)
class Interval:
    """Where nine of ten measured rates would be, and where that is known from."""

    low: float
    high: float
    bound: float
    """The relative error that it stands for."""
    source: str


def interval_of(samples_per_s: float, way: str, device: str, method: str, residual: float | None) -> Interval | None:
    """The interval about a prediction: by published errors of the same way, device and method; None without any.

    Times of a calibrated device have ``residual``, the error that nine in ten of its own kernels stay below when the
    others tell them: that stands in where nothing is published, and is too wide for most, since errors cancel.
    """
    known = published_errors(way, device, method)
    if known is None and residual is None:
        return None
    bound = known.bound if known is not None else (residual or 0.0)
    source = "kernels of the device's calibration, each told by the others"
    if known is not None:
        source = f"{len(known.errors)} cases, median error {known.median:.1%}: {known.source}"
    # |predicted - measured| / measured <= bound; what is measured has no upper end for errors of 1 and more
    return Interval(samples_per_s / (1 + bound), samples_per_s / max(_LEAST, 1 - bound), bound, source)


def published_errors(way: str, device: str, method: str) -> PublishedErrors | None:
    """What is published of this way, kind of device and method; None: nothing."""
    wanted = (way, device, method)
    return next((each for each in PUBLISHED if (each.way, each.device, each.method) == wanted), None)
