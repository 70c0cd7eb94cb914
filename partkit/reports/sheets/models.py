"""What the list of known models shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from partkit.data.units import format_count
from partkit.reports.sheet import Cell, Column, Sheet, Table, text_cell

_COLUMNS = (
    Column("model", "name", is_number=False),
    Column("parameters", "num_parameters"),
    Column("inputs", "inputs", is_number=False),
    Column("description", "description", is_number=False, may_wrap=True),
)
OTHER_SOURCES = (
    "also: hf:DIR or hf:NAME (transformers), timm:NAME, py:package.module:factory, pt2:FILE (torch.export archive),",
    "or the JSON file of a profile",
)


class KnownModel(Protocol):
    """A built-in model, as the sources list it."""

    @property
    def name(self) -> str:
        """What the person types."""

    @property
    def description(self) -> str:
        """One line about it."""

    @property
    def num_parameters(self) -> int:
        """Parameters, shared ones once."""

    @property
    def inputs(self) -> Iterable[object]:
        """Its inputs; ``str`` of each reads as on the command line."""


def models_sheet(models: Iterable[KnownModel]) -> Sheet:
    """A row per model, and the other ways to name one."""
    rows = tuple(
        (
            text_cell(model.name),
            Cell(format_count(model.num_parameters), model.num_parameters),
            text_cell(", ".join(str(spec) for spec in model.inputs)),
            text_cell(model.description),
        )
        for model in models
    )
    return Sheet(tables=(Table(_COLUMNS, rows),), notes=OTHER_SOURCES)
