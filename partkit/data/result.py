"""What a run and a comparison measured."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from partkit.data.document import Document, Measured, Record
from partkit.data.model import ModelSpec
from partkit.data.timeline import Event


class Latency(Record):
    """Seconds from an item's entry to its output, over single items in flight one at a time."""

    p50: Measured
    p95: Measured
    p99: Measured | None = None
    """None: too few items for it."""


class Check(Record):
    """Outputs against the unsplit model's, same weights and inputs."""

    max_abs_diff: Measured | None
    tolerance: Measured
    passed: bool | None
    """None: not checked, or nothing finite to check."""
    difference: str | None = None
    """What differs, where something does."""
    cast_error: Measured | None = None
    """Largest difference to the float32 model as its author wrote it; None: nothing was cast, or not compared."""
    warnings: tuple[str, ...] = ()
    """What agreement with the unsplit model does not tell."""


class StageTime(Record):
    """A stage's compute time for one item, predicted and as measured with all ranks computing."""

    index: int
    predicted_s: Measured | None
    measured_s: Measured


class StageIdle(Record):
    """Shares of the time in which a stage computed and did not, its replicas taken together."""

    index: int
    busy: Measured
    input: Measured
    """It waited for its inputs."""
    slot: Measured
    """It waited for a slot downstream that was not consumed yet."""
    send: Measured
    """It sent, where that keeps it from computing."""


class RankUse(Record):
    """One rank's share of busy time and its memory over the measured window."""

    rank: int
    device: str
    busy: Measured
    gpu_util_mean: Measured | None = None
    gpu_util_max: Measured | None = None
    throttled_by: tuple[str, ...] = ()
    """What held the GPU's clocks back meanwhile, as NVML names it."""
    gpu_util_over_time: tuple[Measured, ...] = ()
    """Percent, means of at most 60 equal stretches of the measured window."""
    peak_bytes: int
    host_peak_bytes: int
    loaded_bytes: int = 0
    """Of weights that partkit brought to this rank's GPUs; 0 where a library did, and on the host, which maps them."""
    load_s: Measured | None = None
    """Seconds in which those were read or made, and copied."""
    samples_per_s: Measured | None = None
    """Only where each rank runs samples of its own (data parallel)."""


class RunResult(Document):
    """One executor's measured run."""

    schema_version: Literal[1] = 1
    kind: Literal["run"] = "run"
    executor: str
    samples_per_s: Measured
    """Over a window that begins and ends with every device idle."""
    steady_samples_per_s: Measured
    latency_s: Latency
    items: int
    batch: int
    lanes: int = 1
    """Items that each place computed side by side."""
    microbatch: int = 1
    """Items that went through the stages as one."""
    max_latency_s: Measured | None = None
    """The bound on the 99th percentile of latency that ``samples_per_s`` is the highest rate found for
    (``--find-rate``)."""
    check: Check
    stages: tuple[StageTime, ...] = ()
    idle: tuple[StageIdle, ...] = ()
    """Of a recorded run, or of a simulation."""
    timeline: tuple[Event, ...] = ()
    """What the first items of a recorded run did when."""
    bottleneck_efficiency: Measured | None = None
    prediction_error: Measured | None = None
    ranks: tuple[RankUse, ...] = ()
    source: str | None = None
    """The file whose items were run, each once; None: drawn inputs."""
    environment: dict[str, Any] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What executors decided by themselves."""


class Simulation(RunResult):
    """A plan run in thought (``partkit simulate``); its fields are a run's, and nothing of it was measured."""

    kind: Literal["simulation"] = "simulation"  # type: ignore[assignment]


class Row(Record):
    """One executor in a comparison; figures are None unless ``status`` is ``ok`` or ``invalid``.

    Memory and GPU use are of each rank's device, or of each device of an executor in one process.
    """

    executor: str
    status: Literal["ok", "unsupported", "failed", "invalid"]
    reason: str | None = None
    samples_per_s: Measured | None = None
    ci95: tuple[Measured, Measured] | None = None
    per_rank_samples_per_s: Measured | None = None
    latency_p50_s: Measured | None = None
    gpu_util_max: tuple[Measured, ...] = ()
    gpu_util_mean: tuple[Measured, ...] = ()
    peak_bytes: tuple[int, ...] = ()
    max_abs_diff: Measured | None = None
    tolerance: Measured | None = None
    """Largest difference from the reference outputs that is allowed for the dtype."""
    busy: tuple[Measured, ...] = ()
    """Share of the rounds in which each rank computed."""
    note: str | None = None
    """What must be read with the figures."""
    lanes: int = 1
    """Items that each device computed side by side."""
    microbatch: int = 1
    """Items that went through the model as one."""


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
