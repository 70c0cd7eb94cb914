"""What ``partkit advise`` says: the ways to run a model on a machine, what each would reach, and the best."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from partkit.data.document import Document, Measured, Record
from partkit.data.model import ModelSpec

Confidence = Literal["high", "fair", "low", "unknown"]
"""By the published error that nine of ten cases stay below: high to 10%, fair to 30%, low beyond; unknown: none."""


class Choice(Record):
    """One way to run the model, predicted by its own cost model."""

    way: str
    """single, replicas, pipeline, tp or fsdp."""
    executor: str
    """What ``partkit compare --with`` calls it."""
    devices: int
    """That it uses."""
    samples_per_s: Measured
    interval: tuple[Measured, Measured] | None = None
    """Where nine of ten would be, by the published errors of this way; None: none are published."""
    latency_s: Measured
    peak_bytes: int
    """On the device that holds most."""
    fits: bool
    reason: str
    """Where the figures come from, in words."""
    confidence: Confidence = "unknown"
    error_source: str | None = None


class Advice(Document):
    """The ways that were looked at, best first, and why the first is."""

    schema_version: Literal[1] = 1
    kind: Literal["advice"] = "advice"
    model: ModelSpec = ModelSpec()
    cluster: str = ""
    devices: int = 1
    objective: Literal["throughput", "latency", "memory"] = "throughput"
    choices: tuple[Choice, ...] = Field(min_length=1)
    best: str | None
    """None: the model fits nowhere."""
    text: str = ""
    left_out: dict[str, str] = Field(default_factory=dict)
    """Ways that this model or machine cannot take, and why."""
    environment: dict[str, Any] = Field(default_factory=dict)
