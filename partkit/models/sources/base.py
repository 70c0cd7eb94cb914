"""What every model source offers, and what a spec's options mean to it; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from partkit.data.model import InputSpec, ModelSpec
from partkit.errors import UsageError

if TYPE_CHECKING:
    from partkit.models.sources.loaded import LoadedModel

INPUT_OPTION = "input."
"""Prefix of the option that keeps one ``--input`` value: ``options["input.input_ids"] == "input_ids=1x64"``."""

DTYPE_OPTION = "dtype"
"""The option that keeps ``--dtype`` where it was given: a plan's own ``dtype`` tells only how precise the model is."""


class Source(Protocol):
    """One way to name a model."""

    def check(self, spec: ModelSpec) -> ModelSpec:
        """Cheap checks without torch; returns the spec, with its inputs where they're known this early."""

    def load(self, spec: ModelSpec) -> LoadedModel:
        """Build the model; the result's spec has every input resolved."""


@dataclass(frozen=True)
class ModelInfo:
    """One line of ``partkit models``."""

    name: str
    description: str
    num_parameters: int
    """Exact count of parameters, a shared one counted once."""
    inputs: tuple[InputSpec, ...]


def target(spec: ModelSpec) -> str:
    """What stands behind the source's prefix: ``hf:DIR`` -> ``DIR``."""
    return spec.source.partition(":")[2]


def input_overrides(spec: ModelSpec) -> dict[str, str]:
    """The spec's ``--input`` values by input name."""
    start = len(INPUT_OPTION)
    return {key[start:]: str(text) for key, text in spec.options.items() if key.startswith(INPUT_OPTION)}


def whole_option(spec: ModelSpec, name: str, default: int) -> int:
    """A whole-number option such as ``batch``."""
    return int(spec.options.get(name, default))


def dynamic_option(spec: ModelSpec) -> tuple[str, ...]:
    """What ``--dynamic`` lets vary: ``batch``, ``seq`` or both."""
    return tuple(str(spec.options["dynamic"]).split(",")) if "dynamic" in spec.options else ()


def asked_dtype(spec: ModelSpec) -> str | None:
    """What ``--dtype`` asked for; None: each tensor keeps its own."""
    return str(spec.options[DTYPE_OPTION]) if DTYPE_OPTION in spec.options else None


def refuse_batch_and_seq(spec: ModelSpec) -> None:
    """Raise :class:`UsageError` for ``--batch``, ``--seq`` and ``--dynamic`` where no dimension has a known meaning."""
    for name in ("batch", "seq", "dynamic"):
        if name in spec.options:
            raise UsageError(
                f"--{name} has no meaning for {spec.source}: nothing says which dimension that is",
                hint="give whole shapes with --input name=1x128:int64",
            )
