"""Model sources: from the text that names a model to the built model. Importing this imports no torch."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from partkit.data.generate import shape_of
from partkit.data.model import ModelSpec
from partkit.errors import UsageError
from partkit.models.sources.base import (
    DTYPE_OPTION,
    INPUT_OPTION,
    WEIGHTS_OPTION,
    ModelInfo,
    Source,
    require_dynamic,
)
from partkit.models.sources.default_inputs import parse_input

if TYPE_CHECKING:
    from partkit.models.sources.loaded import LoadedModel

__all__ = ["SOURCES", "ModelInfo", "list_models", "load_model", "parse_model", "require_consent"]

PRESET = "preset"
SOURCES: Mapping[str, str] = MappingProxyType(
    {
        PRESET: "partkit.models.sources.preset:PresetSource",
        "hf": "partkit.models.sources.hf:HuggingFaceSource",
        "timm": "partkit.models.sources.timm:TimmSource",
        "py": "partkit.models.sources.python_factory:PythonFactorySource",
        "pt2": "partkit.models.sources.pt2:ArchiveSource",
    }
)
DTYPES = ("float32", "bfloat16", "float16")


def parse_model(
    text: str,
    *,
    batch: int | None = None,
    seq: int | None = None,
    dynamic: Sequence[str] = (),
    inputs: Sequence[str] = (),
    dtype: str | None = None,
    seed: int = 1,
    task: str | None = None,
    trust_remote_code: bool = False,
    weights: str | None = None,
) -> ModelSpec:
    """The spec of the model that ``text`` names, after cheap checks; nothing is built and torch isn't imported.

    One keyword for each of the command line's common options, hence so many. ``dtype`` None keeps the dtypes of
    a module that comes with its own (``py:``, ``pt2:``, ``hf:``), and is float32 for the others. The spec's
    ``inputs`` may stay empty until :func:`load_model` resolves them. Raises :class:`UsageError` for unknown names and
    options out of range, :class:`MachineError` for a missing package.
    """
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"--dtype {dtype!r} is unknown", hint=f"use one of {', '.join(DTYPES)}")
    options: dict[str, str | int | float | bool] = {} if dtype is None else {DTYPE_OPTION: dtype}
    for name, value in (("batch", batch), ("seq", seq)):
        if value is not None and value < 1:
            raise UsageError(f"--{name} is {value}", hint="it is 1 or more")
        if value is not None:
            options[name] = value
    for label in dynamic:
        require_dynamic(label)
    if dynamic:
        options["dynamic"] = ",".join(sorted(set(dynamic)))
    for item in inputs:
        options[INPUT_OPTION + parse_input(item, dtype=dtype or "float32").name] = item
    if trust_remote_code:
        options["trust_remote_code"] = True
    if weights is not None and not text.startswith("py:"):
        raise UsageError(
            f"--weights is for modules of your own (py:), and {text} has its weights already", hint="leave it out"
        )
    if weights is not None:
        options[WEIGHTS_OPTION] = weights
    spec = ModelSpec(source=text, dtype=dtype or "float32", seed=seed, task=task, options=options)
    return _source(spec).check(spec)


def load_model(spec: ModelSpec, *, allow_code: bool = True) -> LoadedModel:
    """Build the model that a spec names.

    ``allow_code`` is consent to run the user's own code: typing ``py:`` gives it, a plan file that names
    ``py:`` doesn't. Raises :class:`UsageError` without it, and whatever the source finds wrong.
    """
    if spec.is_graph:
        raise UsageError(
            f"{spec.source} is a bare graph: it can be planned and simulated, not run", hint="name a model instead"
        )
    require_consent(spec, allow_code=allow_code)
    if shape_of(spec) is None:
        return _source(spec).load(spec)
    from partkit.models.sources.decoder import as_step, plain_spec

    plain = plain_spec(spec)
    return as_step(_source(plain).load(plain), spec)


def require_consent(spec: ModelSpec, *, allow_code: bool) -> None:
    """Raise :class:`UsageError` for a model that runs code of its own, unless that is allowed."""
    if spec.runs_own_code and not allow_code:
        raise UsageError(
            f"the plan runs code of its own ({spec.source}), which needs consent",
            hint="read that code, then add --allow-code",
        )


def list_models() -> tuple[ModelInfo, ...]:
    """Every preset with its exact parameter count and default inputs; imports no torch."""
    from partkit.models.sources.preset import preset_infos

    return preset_infos()


def _source(spec: ModelSpec) -> Source:
    prefix, colon, target = spec.source.partition(":")
    name = prefix if colon else PRESET
    if name not in SOURCES or (colon and name == PRESET):
        known = ", ".join(f"{prefix}:" for prefix in SOURCES if prefix != PRESET)
        raise UsageError(f"{spec.source!r} names no model source", hint=f"known: a preset's name, {known}")
    if colon and not target:
        raise UsageError(f"{spec.source!r} names nothing after the colon")
    module, _, attribute = SOURCES[name].partition(":")
    return cast("Source", getattr(importlib.import_module(module), attribute)())
