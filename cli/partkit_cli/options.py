"""Groups of options that several commands share, and what each asks of the library."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from partkit.data.margin import MARGIN
from partkit.errors import InfeasibleError, UsageError
from partkit_cli.completion import (
    analytic_names,
    cluster_names,
    dtype_names,
    format_names,
    planner_names,
    task_names,
)
from partkit_cli.pins_and_caps import caps_of, pins_of, split_cap

if TYPE_CHECKING:
    from partkit.data.cluster import Cluster
    from partkit.data.model import ModelSpec
    from partkit.planners import PlanRequest


class DeviceChoice(StrEnum):
    """Kinds of device; ``auto`` is CUDA where there is any."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Objective(StrEnum):
    """What a plan makes best."""

    THROUGHPUT = "throughput"
    LATENCY = "latency"
    MEMORY = "memory"


class Granularity(StrEnum):
    """Where cuts may be: anywhere, between numbered layers, or between modules' calls."""

    OP = "op"
    LAYER = "layer"
    MODULE = "module"


@dataclass(frozen=True)
class ModelOptions:
    """How to build the model and its example inputs."""

    panel: ClassVar[str] = "Model"

    batch: Annotated[int | None, typer.Option(min=1, help="Samples in one item.")] = None
    seq: Annotated[int | None, typer.Option(min=1, help="Sequence length.")] = None
    dynamic: Annotated[
        list[str],
        typer.Option(
            "--dynamic",
            metavar="batch|seq|INPUT.DIM=NAME",
            help="Let this size vary from 1 to the given one; repeatable.",
        ),
    ] = field(default_factory=list)
    inputs: Annotated[
        list[str],
        typer.Option("--input", metavar="NAME=SHAPE:DTYPE", help="An input, as name=1x128:int64; repeatable."),
    ] = field(default_factory=list)
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="float32|bfloat16|float16",
            help="Dtype of parameters; by default the model's own, float32 where it has none.",
            autocompletion=dtype_names,
        ),
    ] = None
    tf32: Annotated[bool, typer.Option("--tf32", help="Let float32 products use TF32 (CUDA).")] = False
    compiled: Annotated[bool, typer.Option("--compile", help="Put stages through torch.compile.")] = False
    seed: Annotated[int, typer.Option(help="Seed of random weights and inputs.")] = 1
    task: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="transformers head, as masked-lm or causal-lm.", autocompletion=task_names),
    ] = None
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let a checkpoint's own Python code run.")
    ] = False

    weights: Annotated[
        str | None,
        typer.Option(metavar="DIR|FILE", help="Safetensors by name for a py: module, whose own weights are not used."),
    ] = None

    def spec(self, model: str) -> ModelSpec:
        """The model that ``model`` names, with these options."""
        from partkit.models.sources import parse_model

        spec = parse_model(
            model,
            batch=self.batch,
            seq=self.seq,
            dynamic=tuple(self.dynamic),
            inputs=tuple(self.inputs),
            dtype=self.dtype,
            seed=self.seed,
            task=self.task,
            trust_remote_code=self.trust_remote_code,
            weights=self.weights,
        )
        return spec.model_copy(update={"tf32": self.tf32, "compiled": self.compiled})


@dataclass(frozen=True)
class MachineOptions:
    """What to profile and run on."""

    panel: ClassVar[str] = "Machine"

    device: Annotated[DeviceChoice, typer.Option(help="Kind of device.")] = DeviceChoice.AUTO
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads per stage.")] = None
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Most of the unsplit model on one device at once, as 9GB: more is profiled and checked in parts; "
            "default: what is free.",
        ),
    ] = None

    @property
    def memory_bytes(self) -> int | None:
        """The budget in bytes; None: what is free. Raises :class:`UsageError` for what is no size."""
        from partkit.data.units import parse_bytes

        if self.memory is None:
            return None
        size = parse_bytes(self.memory)
        if size == 0:
            raise UsageError(f"--memory {self.memory} leaves no room for anything", hint="give a size, as --memory 9GB")
        return size


@dataclass(frozen=True)
class PlanOptions:
    """What is asked of the planner."""

    panel: ClassVar[str] = "Planning"

    stages: Annotated[str, typer.Option(metavar="N|auto", help="Number of stages; auto: as many as help.")] = "auto"
    exact: Annotated[
        bool, typer.Option("--exact", help="As many as --stages says, even where fewer would be faster.")
    ] = False
    planner: Annotated[
        str,
        typer.Option(
            metavar="auto|even|by_params|by_memory|chain|orders|ideals|refine",
            help="Algorithm; auto takes the best within reach.",
            autocompletion=planner_names,
        ),
    ] = "auto"
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME",
            help="Devices and links to plan for, as 4x-nvlink, or 4x-nvlink:6 for six such devices; default: this "
            "machine's.",
            autocompletion=cluster_names,
        ),
    ] = None
    objective: Annotated[Objective, typer.Option(help="What to make best.")] = Objective.THROUGHPUT
    pins: Annotated[
        list[str], typer.Option("--pin", metavar="REGEX=STAGE", help="Modules that go to a stage; repeatable.")
    ] = field(default_factory=list)
    caps: Annotated[
        list[str],
        typer.Option("--cap", metavar="DEVICE=SIZE", help="Memory cap, as 0=24GiB or all=24GiB; repeatable."),
    ] = field(default_factory=list)
    margin: Annotated[
        float,
        typer.Option(min=0.0, max=0.9, help="Share of each GPU's free memory that a plan leaves alone."),
    ] = MARGIN
    granularity: Annotated[Granularity, typer.Option(help="What a cut may go between.")] = Granularity.OP
    non_contiguous: Annotated[
        bool, typer.Option("--non-contiguous", help="Let stages send back and forth: for study, nothing runs it.")
    ] = False
    keep_together: Annotated[
        list[str], typer.Option(metavar="REGEX", help="Modules that go to one stage; repeatable.")
    ] = field(default_factory=list)
    profile_each: Annotated[
        bool,
        typer.Option("--profile-each", help="Profile the model on every GPU: they differ, or others use some of them."),
    ] = False
    lanes: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="Items that a GPU computes side by side; auto: as many as help, measured; default: 1. With "
            "--generate, groups of sequences under way at once (default: one a stage, where they suffice).",
        ),
    ] = None
    microbatch: Annotated[
        str,
        typer.Option(
            metavar="N|auto", help="Items that are put together into one batch, where that is safe; auto: up to 32."
        ),
    ] = "1"
    max_latency: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Of lanes and microbatches, the fastest within this p99 at 90% load, as 20ms."
        ),
    ] = None
    max_delay: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Longest that an item waits for others of its microbatch, as 5ms; default: 0."
        ),
    ] = None
    replicate: Annotated[
        str, typer.Option(metavar="N|auto", help="Devices that may share a stage; auto: any number.")
    ] = "1"

    @property
    def num_stages(self) -> int | None:
        """Number of stages; None: the planner chooses. Raises :class:`UsageError` for what is no such number."""
        return _count_or_auto(self.stages, "--stages", "a number of stages")

    @property
    def max_replicas(self) -> int | None:
        """Devices that may share a stage; None: any number. Raises :class:`UsageError` for what is no such number."""
        return _count_or_auto(self.replicate, "--replicate", "a number of devices")

    @property
    def max_delay_s(self) -> float:
        """Longest that an item waits for others. Raises :class:`UsageError` for what is no time."""
        from partkit.data.units import parse_seconds

        return 0.0 if self.max_delay is None else parse_seconds(self.max_delay)

    @property
    def num_lanes(self) -> int | None:
        """Lanes, 1 by default; None: the planner chooses. Raises :class:`UsageError` for what is no such number."""
        return 1 if self.lanes is None else _count_or_auto(self.lanes, "--lanes", "a number of lanes")

    @property
    def num_together(self) -> int | None:
        """Items a microbatch; None: the planner chooses. Raises :class:`UsageError` for what is no such number."""
        return _count_or_auto(self.microbatch, "--microbatch", "a number of items")

    @property
    def max_latency_s(self) -> float | None:
        """The bound on latency, if any. Raises :class:`UsageError` for what is no time."""
        from partkit.data.units import parse_seconds

        return None if self.max_latency is None else parse_seconds(self.max_latency)

    @property
    def chooses_filling(self) -> bool:
        """Whether lanes or microbatches are the planner's to choose, or a bound is to be held with them."""
        return self.num_lanes is None or self.num_together is None or self.max_latency is not None

    def batched(self, model: str, building: ModelOptions) -> ModelOptions:
        """How to build a model whose batch varies up to that of a whole microbatch; as it is where its file says."""
        if self.num_together == 1 or model.endswith(".json"):
            return building
        dynamic = building.dynamic if "batch" in building.dynamic else [*building.dynamic, "batch"]
        if model.startswith(("py:", "pt2:")):  # its own example has the largest batch
            return replace(building, dynamic=dynamic)
        return replace(building, dynamic=dynamic, batch=(building.batch or 1) * (self.num_together or MOST_TOGETHER))

    def caps_bytes(self, cluster: Cluster) -> dict[int, int]:
        """Memory caps by device of ``cluster``; one for ``all`` holds for those that have none of their own."""
        return caps_of(self.caps, cluster)

    def require_readable(self) -> None:
        """Raise for whatever is wrong with these options by themselves, before any work."""
        from partkit.data.patterns import require_regex
        from partkit.planners.registry import PLANNERS

        if self.exact and self.num_stages is None:
            raise UsageError("--exact needs a number of stages", hint="add --stages N")
        _ = self.num_stages, self.max_replicas, self.max_delay_s, self.num_lanes, self.max_latency_s
        if self.max_delay is not None and self.num_together == 1:
            raise UsageError("--max-delay is of microbatches, and there are none", hint="add --microbatch N")
        if self.planner not in PLANNERS:
            raise UsageError(f"there is no planner {self.planner!r}", hint=f"choose one of {', '.join(PLANNERS)}")
        for option, patterns in (("--pin", pins_of(self.pins)), ("--keep-together", self.keep_together)):
            for pattern in patterns:
                require_regex(option, pattern)
        for text in self.caps:
            split_cap(text)
        for pattern, stage in pins_of(self.pins).items():
            if self.num_stages is not None and stage >= self.num_stages:
                raise InfeasibleError(
                    f"pin {pattern}={stage} names stage {stage}, and a plan may have {self.num_stages} here",
                    hint="pin to one of those, or ask for more stages",
                )

    def request(self, cluster: Cluster) -> PlanRequest:
        """These options as the planner takes them; ``cluster`` gives device names their numbers.

        Raises :class:`UsageError` for an option out of its form or range.
        """
        from partkit.planners import PlanRequest

        return PlanRequest(
            num_stages=self.num_stages,
            exact_num_stages=self.exact,
            planner=self.planner,
            objective=self.objective.value,
            memory_caps_bytes=self.caps_bytes(cluster),
            pins=pins_of(self.pins),
            granularity=self.granularity.value,
            keep_together=tuple(self.keep_together),
            max_replicas=self.max_replicas,
            contiguous=not self.non_contiguous,
            lanes=self.num_lanes or 1,
            microbatch=self.num_together or 1,
            max_delay_s=self.max_delay_s,
        )


MOST_TOGETHER = 32
"""Items a microbatch where the planner chooses."""


def _count_or_auto(text: str, option: str, what: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{option} {text} is not {what}", hint="give 1 or more, or auto")
    return int(text)


ANALYTIC = typer.Option(
    "--analytic",
    metavar="DEVICE",
    help="Compute times from DEVICE's published figures (h100, ...), measure nothing.",
    autocompletion=analytic_names,
)
"""An option of the commands that profile a model."""


FORMAT = typer.Option(
    "--format", metavar="table|markdown|csv|json", help="How to show it.", autocompletion=format_names
)
"""An option of the commands that show a file."""


_FLAGS = {"compiled": "--compile", "inputs": "--input", "pins": "--pin", "caps": "--cap"}


def typed(options: ModelOptions | MachineOptions | PlanOptions) -> list[str]:
    """The words of a command line that give these options again; those at their defaults are left out."""
    words: list[str] = []
    defaults = type(options)()
    for item in fields(options):
        value = getattr(options, item.name)
        if value != getattr(defaults, item.name):
            for each in value if isinstance(value, list) else [value]:
                words += [_flag(item.name)] if each is True else [_flag(item.name), str(each)]
    return words


def _flag(name: str) -> str:
    return _FLAGS.get(name, f"--{name.replace('_', '-')}")


def refuse(options: ModelOptions | PlanOptions, path: str, kind: str) -> None:
    """Raise :class:`UsageError` if any of ``options`` is given, since the file at ``path`` already fixes them all."""
    defaults = type(options)()
    given = [item.name for item in fields(options) if getattr(options, item.name) != getattr(defaults, item.name)]
    if given:
        flags = ", ".join(_flag(name) for name in given)
        raise UsageError(
            f"{flags} cannot change the {kind} in {path}", hint="leave it out, or name the model instead of the file"
        )
