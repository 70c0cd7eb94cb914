"""What every model source offers, and what a spec's options mean to it; no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from partkit.data.model import InputSpec, ModelSpec
from partkit.errors import UsageError

if TYPE_CHECKING:
    from partkit.models.sources.loaded import LoadedModel

INPUT_OPTION = "input."
"""Prefix of the option that keeps one ``--input`` value: ``options["input.input_ids"] == "input_ids=1x64"``."""

DTYPE_OPTION = "dtype"
"""The option that keeps ``--dtype`` where it was given: a plan's own ``dtype`` tells only how precise the model is."""


WEIGHTS_OPTION = "weights"
"""The option that keeps ``--weights``: where the weights of a module of one's own are."""


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


_NAMED_DIMENSION = re.compile(r"(?P<input>\w+)\.(?P<dimension>\d+)=(?P<label>[^\W\d]\w*)")


def require_dynamic(text: str) -> None:
    """Raise :class:`UsageError` for a ``--dynamic`` value that is no size to let vary."""
    if text not in ("batch", "seq") and _NAMED_DIMENSION.fullmatch(text) is None:
        raise UsageError(
            f"--dynamic {text!r} is unknown", hint="use batch or seq, or name a dimension, as in tokens.1=length"
        )


def dynamic_option(spec: ModelSpec) -> tuple[str, ...]:
    """Which of ``batch`` and ``seq`` ``--dynamic`` lets vary, wherever the model has them."""
    return tuple(text for text in _dynamic_texts(spec) if "=" not in text)


def named_dimensions(spec: ModelSpec) -> dict[str, dict[str, str]]:
    """Labels of the dimensions that ``--dynamic INPUT.DIM=NAME`` lets vary, by input and dimension."""
    named: dict[str, dict[str, str]] = {}
    for match in filter(None, map(_NAMED_DIMENSION.fullmatch, _dynamic_texts(spec))):
        named.setdefault(match["input"], {})[str(int(match["dimension"]))] = match["label"]
    return named


def _dynamic_texts(spec: ModelSpec) -> tuple[str, ...]:
    return tuple(str(spec.options["dynamic"]).split(",")) if "dynamic" in spec.options else ()


def asked_dtype(spec: ModelSpec) -> str | None:
    """What ``--dtype`` asked for; None: each tensor keeps its own."""
    return str(spec.options[DTYPE_OPTION]) if DTYPE_OPTION in spec.options else None


def weights_path(spec: ModelSpec) -> Path | None:
    """What ``--weights`` names; None: the model has its own."""
    return Path(str(spec.options[WEIGHTS_OPTION])).expanduser() if WEIGHTS_OPTION in spec.options else None


def refuse_batch_and_seq(spec: ModelSpec) -> None:
    """Raise :class:`UsageError` for ``--batch`` and ``--seq`` where the user's own inputs have whole shapes."""
    for name in ("batch", "seq"):
        if name in spec.options:
            raise UsageError(
                f"--{name} has no meaning for {spec.source}: nothing says which dimension that is",
                hint="give whole shapes with --input name=1x128:int64",
            )
