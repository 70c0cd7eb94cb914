"""A profiled model's heaviest operations, told so that a process without the model can time them again.

A **gauge** is one operation with the shapes that it has in the model. A kept profile is good for as long as its gauges
take about as long as its nodes did.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from partkit.data.document import Document, Record


class Gauge(Record):
    """One operation, and the nodes of the profile that are it."""

    nodes: tuple[str, ...]
    operation: str = Field(pattern=r"^aten\.\w+\.\w+$")
    """Its name in torch.ops, as ``aten.linear.default``: one of torch's own."""
    args: tuple[Any, ...]
    """JSON values; a tensor is told by its form (:mod:`partkit.profilers.gauges`)."""
    kwargs: dict[str, Any] = Field(default_factory=dict)
    in_model: float = Field(default=1.0, gt=0)
    """Seconds within the model over seconds alone, both when it was profiled: caches are colder in a model."""

    @model_validator(mode="after")
    def _computes(self) -> Self:
        if not has_tensor([*self.args, *self.kwargs.values()]):
            raise ValueError(f"{self.operation} takes no tensor")
        return self


class Gauges(Document):
    """The gauges of a kept profile, heaviest first."""

    schema_version: Literal[1] = 1
    kind: Literal["gauges"] = "gauges"
    gauges: tuple[Gauge, ...]


def has_tensor(values: list[Any]) -> bool:
    """True where a tensor is among the operands: what takes none (a file's name, say) is no gauge."""
    return any(
        has_tensor(value) if isinstance(value, list) else isinstance(value, dict) and "tensor" in value
        for value in values
    )
