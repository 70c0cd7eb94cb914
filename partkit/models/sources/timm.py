"""``timm:NAME``: an image model of the timm package, with seeded weights."""

from __future__ import annotations

import difflib
import importlib.util
from typing import TYPE_CHECKING, Any

from partkit.data.model import InputSpec, ModelSpec
from partkit.errors import MachineError, UsageError
from partkit.models.packages import import_package
from partkit.models.sources.base import input_overrides, target, whole_option
from partkit.models.sources.default_inputs import image_inputs, mark_dynamic, override_inputs

if TYPE_CHECKING:
    from torch import nn

    from partkit.models.sources.loaded import LoadedModel

_INSTALL = "pip install timm"


class TimmSource:
    """Any name of ``timm.list_models()``; weights are never downloaded."""

    def check(self, spec: ModelSpec) -> ModelSpec:
        """Raise :class:`MachineError` without timm, :class:`UsageError` for options and names that can't be."""
        name = target(spec)
        if not name.replace(".", "_").isidentifier():
            raise UsageError(f"timm:{name} isn't the plain name of a timm model", hint="see timm.list_models()")
        if spec.task is not None or "seq" in spec.options:
            option = "task" if spec.task is not None else "seq"
            raise UsageError(f"--{option} has no meaning for {spec.source}", hint=f"leave --{option} out")
        if importlib.util.find_spec("timm") is None:
            raise MachineError(f"{spec.source} needs timm, which isn't installed", hint=_INSTALL)
        return spec

    def load(self, spec: ModelSpec) -> LoadedModel:
        """Build the model on meta with seeded weights.

        Raises :class:`MachineError` without timm, :class:`UsageError` for a name that it does not know.
        """
        import torch

        from partkit.models.sources.casting import cast_module
        from partkit.models.sources.loaded import LoadedModel
        from partkit.models.sources.meta_build import build_on_meta
        from partkit.models.weights import SeededWeights

        timm, name = import_package("timm", install=_INSTALL), target(self.check(spec))
        if not timm.is_model(name):
            near = difflib.get_close_matches(name, timm.list_models(), n=3)
            raise UsageError(
                f"timm {timm.__version__} has no model {name!r}",
                hint=f"did you mean {' or '.join(near)}?" if near else "see timm.list_models()",
            )
        module = build_on_meta(lambda: timm.create_model(name, pretrained=False), seed=spec.seed)
        if spec.dtype != "float32":
            module = cast_module(module, getattr(torch, spec.dtype))
        spec = spec.model_copy(update={"inputs": _inputs(spec, module)})
        args = _positional(spec)
        return LoadedModel(spec, module, args, {}, SeededWeights(spec.seed, module))


def _inputs(spec: ModelSpec, module: nn.Module) -> tuple[InputSpec, ...]:
    import inspect

    if spec.inputs:
        return spec.inputs
    name = next(iter(inspect.signature(module.forward).parameters))
    settings: Any = getattr(module, "pretrained_cfg", None) or {}
    channels, height, width = settings.get("input_size") or (3, 224, 224)
    batch = whole_option(spec, "batch", 1)
    defaults = image_inputs(name, batch=batch, channels=channels, height=height, width=width, dtype=spec.dtype)
    inputs = override_inputs(defaults, input_overrides(spec), dtype=spec.dtype)
    if len(inputs) > 1:
        raise UsageError(f"{spec.source} has no input {inputs[-1].name!r}", hint=f"it has one, {name}")
    return mark_dynamic(spec, inputs, ())


def _positional(spec: ModelSpec) -> tuple[Any, ...]:
    from partkit.models.inputs import synthetic_inputs

    return tuple(synthetic_inputs(spec, 0).values())
