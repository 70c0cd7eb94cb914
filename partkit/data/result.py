"""What a run and a comparison measured."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from partkit.data.document import Document, Record
from partkit.data.model import ModelSpec


class Latency(Record):
    """Seconds from an item's entry to its output, over single items in flight one at a time."""

    p50: float
    p95: float


class Check(Record):
    """Outputs against the unsplit model's, same weights and inputs."""

    max_abs_diff: float | None
    tolerance: float
    passed: bool | None
    """None: not checked."""


class StageTime(Record):
    """A stage's compute time for one item, predicted and as measured with all ranks computing."""

    index: int
    predicted_s: float | None
    measured_s: float


class RankUse(Record):
    """One rank's share of busy time and its memory over the measured window."""

    rank: int
    device: str
    busy: float
    gpu_util_mean: float | None = None
    gpu_util_max: float | None = None
    throttled_by: tuple[str, ...] = ()
    """What held the GPU's clocks back meanwhile, as NVML names it."""
    peak_bytes: int
    host_peak_bytes: int
    samples_per_s: float | None = None
    """Only where each rank runs samples of its own (data parallel)."""


class RunResult(Document):
    """One executor's measured run."""

    schema_version: Literal[1] = 1
    kind: Literal["run"] = "run"
    executor: str
    samples_per_s: float
    """Over a window that begins and ends with every device idle."""
    steady_samples_per_s: float
    latency_s: Latency
    items: int
    batch: int
    check: Check
    stages: tuple[StageTime, ...] = ()
    bottleneck_efficiency: float | None = None
    prediction_error: float | None = None
    ranks: tuple[RankUse, ...] = ()
    environment: dict[str, Any] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Row(Record):
    """One executor in a comparison; figures are None unless ``status`` is ``ok`` or ``invalid``.

    Memory and GPU use are of each rank's device, or of each device of an executor in one process.
    """

    executor: str
    status: Literal["ok", "unsupported", "failed", "invalid"]
    reason: str | None = None
    samples_per_s: float | None = None
    ci95: tuple[float, float] | None = None
    per_rank_samples_per_s: float | None = None
    latency_p50_s: float | None = None
    gpu_util_max: tuple[float, ...] = ()
    gpu_util_mean: tuple[float, ...] = ()
    peak_bytes: tuple[int, ...] = ()
    max_abs_diff: float | None = None
    tolerance: float | None = None
    """Largest difference from the reference outputs that is allowed for the dtype."""
    busy: tuple[float, ...] = ()
    """Share of the rounds in which each rank computed."""
    note: str | None = None
    """What must be read with the figures."""


class Verdict(Record):
    """The best executor for each aim, and what to do, in words."""

    throughput: str | None = None
    latency: str | None = None
    memory: str | None = None
    text: str = ""


class Comparison(Document):
    """Executors side by side: same model, weights and inputs, interleaved rounds."""

    schema_version: Literal[1] = 1
    kind: Literal["comparison"] = "comparison"
    valid: bool
    reasons: tuple[str, ...] = ()
    model: ModelSpec
    devices: int
    rows: tuple[Row, ...]
    verdict: Verdict = Verdict()
    warnings: tuple[str, ...] = ()
    """What does not make the figures invalid and must be known to read them."""
    environment: dict[str, Any] = Field(default_factory=dict)
