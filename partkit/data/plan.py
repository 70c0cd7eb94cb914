"""The plan file: which nodes run on which device, what crosses, and how far from the best possible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from partkit.data.cluster import Cluster
from partkit.data.document import Document, Measured, Record
from partkit.data.generate import Generate
from partkit.data.model import ModelSpec
from partkit.data.quantities import Seconds

NO_EXECUTOR = "none"
"""Named by a plan whose stages send back and forth: each executor runs a stage once for an item."""


class Send(Record):
    """Values that one stage sends to a later one for each item."""

    to: int = Field(ge=0)
    values: tuple[str, ...]
    bytes: int = Field(ge=0)
    time_s: Measured = Field(ge=0)


class Stage(Record):
    """A set of nodes on one device, or on several that take items in turn (replicated)."""

    index: int = Field(ge=0)
    devices: tuple[int, ...] = Field(min_length=1)
    modules: tuple[str, ...] = ()
    """Module paths for people; ``nodes`` is what counts."""
    nodes: tuple[str, ...] = Field(min_length=1)
    param_bytes: int = Field(default=0, ge=0)
    peak_bytes: int = Field(default=0, ge=0)
    compute_s: Measured = Field(default=0.0, ge=0)
    period_s: Measured = Field(default=0.0, ge=0)
    sends: tuple[Send, ...] = ()
    recomputes: tuple[str, ...] = ()
    """Nodes of earlier stages that this one computes again because receiving their values would take longer."""


class Prediction(Record):
    """What the plan should reach in steady state."""

    bottleneck_stage: int = 0
    period_s: Measured = 0.0
    samples_per_s: Measured = 0.0
    latency_s: Measured = 0.0
    interval: tuple[Measured, Measured] | None = None
    """Samples per second that nine of ten runs would be between, by earlier errors; None where none are known."""
    interval_source: str | None = None


class Bound(Record):
    """No plan for the same request has a shorter period; ``gap`` is the plan's period over it, less one.

    For the latency and memory objectives the bound is ``latency_s`` or ``peak_bytes`` and the gap is to that.
    """

    period_s: Measured = 0.0
    latency_s: Measured | None = None
    peak_bytes: Measured | None = None
    gap: Measured = 0.0
    proved_by: str = ""
    optimal: bool = False


class Alternative(Record):
    """What another planner's cut would give, on the same cost function."""

    planner: str
    period_s: Measured


class Constraints(Record):
    """What the request demanded."""

    memory_caps_bytes: dict[str, int] = Field(default_factory=dict)
    """Cap by device index, as text."""
    pins: dict[str, int] = Field(default_factory=dict)
    """Stage by regular expression on module paths."""
    keep_together: tuple[str, ...] = ()
    """Regular expressions on module paths: nodes that match one stand in one stage."""
    granularity: Literal["op", "layer", "module"] = "op"
    """Where cuts may be: anywhere, between numbered layers, or between modules' calls."""
    num_stages: int | None = Field(default=None, ge=1)
    """Stages at most; None: as many as there are devices."""
    max_replicas: int | None = Field(default=None, ge=1)
    """Devices that one stage may run on; None: any number."""
    num_slots: int = Field(default=2, ge=1)
    """In-flight slots of each received and each sent value, as counted in ``peak_bytes``."""


class NodeTimes(Record):
    """Where the node times behind a plan's figures come from: its profile's ``method`` and device."""

    method: str = ""
    device: str = ""

    @property
    def is_analytic(self) -> bool:
        """True where nothing was measured."""
        return self.method == "analytic"


class PlannerRun(Record):
    """Which algorithm made the plan and how long it took."""

    name: str = ""
    asked: str = "auto"
    """The planner that the request named."""
    seconds: Measured = 0.0
    detail: str = ""
    """What the planner tried and why it chose this, for people."""


class MovedNodes(Record):
    """Nodes that a new plan puts on another stage."""

    source: int = Field(ge=0)
    target: int = Field(ge=0)
    nodes: tuple[str, ...]


class MeasuredRound(Record):
    """A plan that was run, against what was predicted, and what planning again from that moved."""

    predicted_s: tuple[Measured, ...]
    """Compute of one item, by stage."""
    measured_s: tuple[Measured, ...]
    predicted_samples_per_s: Measured
    measured_samples_per_s: Measured
    """In steady state."""
    moved: tuple[MovedNodes, ...] = ()
    """Empty: no other cut promised more."""


class Plan(Document):
    """A way to split a model, with its prediction, proved bound and everything needed to run it."""

    digits: ClassVar[int] = 4
    most_items: ClassVar[Mapping[str, int]] = {
        "stages": 10_000,
        **{f"cluster.{name}": most for name, most in Cluster.most_items.items()},
    }

    schema_version: Literal[1] = 1
    kind: Literal["plan"] = "plan"
    model: ModelSpec
    executor: str = "pipeline"
    stages: tuple[Stage, ...] = Field(min_length=1)
    lanes: int = Field(default=1, ge=1, le=1024)
    """Items that each place computes side by side, on a stream of its own each."""
    microbatch: int = Field(default=1, ge=1, le=65_536)
    """Items that are put together into one batch at the pipeline's entry."""
    max_delay_s: Seconds = 0.0
    """Longest that an item waits for others to fill its microbatch; 0: it waits for none."""
    generate: Generate | None = None
    """How the stages write text; None: they take whole items."""
    objective: Literal["throughput", "latency", "memory"] = "throughput"
    prediction: Prediction = Prediction()
    bound: Bound = Bound()
    alternatives: tuple[Alternative, ...] = ()
    constraints: Constraints = Constraints()
    cluster: Cluster
    contiguous: bool = True
    planner: PlannerRun = PlannerRun()
    profile_sha256: str = ""
    node_times: NodeTimes = NodeTimes()
    edited: bool = False
    rounds: tuple[MeasuredRound, ...] = ()
    """What was measured before the plan was made (``partkit plan --measure``)."""
    provenance: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _stages_are_whole(self) -> Self:
        stage_by_node: dict[str, int] = {}
        for position, stage in enumerate(self.stages):
            if stage.index != position:
                raise ValueError(f"stages[{position}].index is {stage.index}, and stages are numbered in order")
            for device in stage.devices:
                if device >= len(self.cluster.devices):
                    raise ValueError(
                        f"stages[{position}].devices names device {device}, and the cluster has "
                        f"{len(self.cluster.devices)} (0 to {len(self.cluster.devices) - 1})"
                    )
            for name in stage.nodes:
                if name in stage_by_node:
                    raise ValueError(f"node {name!r} stands in stages {stage_by_node[name]} and {position}")
                stage_by_node[name] = position
            for send in stage.sends:
                if send.to >= len(self.stages) or send.to == position:
                    raise ValueError(f"stages[{position}].sends goes to stage {send.to}, which is no other stage")
        return self

    @property
    def stage_by_node(self) -> dict[str, int]:
        """Stage index of each placed node."""
        return {name: stage.index for stage in self.stages for name in stage.nodes}

    @property
    def recomputes_by_stage(self) -> dict[int, frozenset[str]]:
        """What each stage computes again."""
        return {stage.index: frozenset(stage.recomputes) for stage in self.stages}
