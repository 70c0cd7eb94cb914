"""A model's operations with their times, sizes and uses: what the planner works on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from partkit.data.document import Document, Record, digest
from partkit.data.model import ModelSpec
from partkit.data.quantities import MeasuredFactor, MeasuredSeconds

INPUT_OP = "input"
OUTPUT_OP = "output"


_YOUNG = ("repeatable", "view_of", "workspace_bytes", "dynamic", "smallest", "tf32", "compiled", "examples_only")
"""Fields that the first version of the format had not: unset, they change no digest."""


class Node(Record):
    """One operation of the graph.

    A model's inputs are nodes of ``op`` ``"input"`` and its result one of ``op`` ``"output"``, both with
    ``time_s`` 0, so that what enters late or leaves early is priced like any other value.
    """

    name: str
    module: str = ""
    op: str = ""
    time_s: MeasuredSeconds = Field(ge=0)
    parameters: tuple[str, ...] = ()
    param_bytes: int = Field(default=0, ge=0)
    buffer_bytes: int = Field(default=0, ge=0)
    output_bytes: int = Field(default=0, ge=0)
    free: bool = False
    """Depends on no model input: rebuilt on each stage that uses it, never sent, in no stage of a plan."""
    repeatable: bool = False
    """Gives the same value wherever its operands are, and reads no parameter: a later stage may compute it again
    rather than receive it."""
    view_of: str | None = None
    """The node whose memory this one's value shares: on the same stage it takes none of its own."""
    group: str | None = None
    """Nodes with the same group go to the same stage."""


class ProfiledDevice(Record):
    """The device that the times hold for."""

    type: str = "cpu"
    name: str = "unknown"
    num_threads: int | None = None


class Calibration(Record):
    """How sums over nodes relate to whole stages as measured."""

    scale: MeasuredFactor = Field(default=1.0, gt=0)
    """Time of the whole over the sum of node times."""
    workspace_bytes: int = Field(default=0, ge=0)
    """Memory that a device takes beside weights and values: libraries' workspaces, operations' own temporaries."""


class FilledTime(Record):
    """The whole model on one device, several batches at once."""

    batch: int = Field(ge=1)
    """Samples of each."""
    lanes: int = Field(ge=1)
    """Batches that are computed side by side."""
    launch_s: MeasuredSeconds = Field(gt=0)
    """Seconds from one batch's end to the next one's, with every lane full."""


class Profile(Document):
    """Times and sizes of a graph's nodes; ``edges`` are uses ``(producer, consumer)`` of node values."""

    most_items: ClassVar[Mapping[str, int]] = {"nodes": 100_000, "edges": 1_000_000}

    schema_version: Literal[1] = 1
    kind: Literal["profile"] = "profile"
    model: ModelSpec = ModelSpec()
    device: ProfiledDevice = ProfiledDevice()
    method: str = "given"
    """``measured``, ``analytic`` or ``given`` (a graph from elsewhere)."""
    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]
    parameters: dict[str, int] = Field(default_factory=dict)
    """Bytes of each named parameter and buffer."""
    calibration: Calibration = Calibration()
    filling: tuple[FilledTime, ...] = ()
    """What lanes and batches give; empty: not measured."""
    provenance: dict[str, Any] = Field(default_factory=dict)

    def _is_measured(self) -> bool:
        return self.method != "given"

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        known = Counter(node.name for node in self.nodes)
        if len(known) < len(self.nodes):
            twice = sorted(name for name, count in known.items() if count > 1)
            raise ValueError(f"nodes named more than once: {', '.join(twice[:5])}")
        for source, target in self.edges:
            for end in (source, target):
                if end not in known:
                    raise ValueError(f"edge [{source!r}, {target!r}] names {end!r}, which is no node")
        return self

    @property
    def residual(self) -> float | None:
        """Error that nine in ten kernels of the calibration behind the times stay below; None without one."""
        told = self.provenance.get("calibration")
        found = told.get("error_of_nine_in_ten") if isinstance(told, dict) else None
        return float(found) if isinstance(found, int | float) else None

    def param_bytes_of(self, nodes: Iterable[Node]) -> int:
        """Bytes of the parameters that ``nodes`` read, each counted once."""
        some = tuple(nodes)
        names = {name for node in some for name in node.parameters}
        if names and self.parameters:
            return sum(self.parameters.get(name, 0) for name in names)
        return sum(node.param_bytes for node in some)

    @property
    def sha256(self) -> str:
        """Digest of everything but provenance; fields younger than the first version count where they are set."""
        data = self.to_data()
        del data["provenance"]
        if not data["filling"]:
            del data["filling"]
        young = [*data["nodes"], *data["model"]["inputs"], data["model"], data["calibration"]]
        for each in young:
            for name in _YOUNG:
                if name in each and not each[name]:
                    del each[name]
        return digest(data)
