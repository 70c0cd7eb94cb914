"""Build transformers classes from a config, as transformers itself would; shared by the presets and ``hf:``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from partkit.errors import MachineError, UsageError
from partkit.model import ModelSpec
from partkit.sources.loaded import LoadedModel, call_by_keyword
from partkit.sources.meta_build import build_on_meta
from partkit.weights import SeededWeights

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def import_transformers() -> Any:
    """The package; raises :class:`MachineError` with the install command when it is missing."""
    try:
        import transformers
    except ImportError as error:
        raise MachineError(
            f"this model needs transformers, which can't be imported ({error})", hint="pip install 'transformers>=5'"
        ) from None
    return transformers


def load_config(model_type: str, settings: Mapping[str, object]) -> PretrainedConfig:
    """A transformers config of a model type with some settings changed."""
    return import_transformers().AutoConfig.for_model(model_type, **settings)


def load_seeded(spec: ModelSpec, config: PretrainedConfig, architecture: str) -> LoadedModel:
    """A transformers class by its name, with seeded weights; the spec's inputs are resolved already."""
    module = build_transformers(getattr(import_transformers(), architecture), config, spec)
    check_names(module, spec)
    args, kwargs = call_by_keyword(spec)
    return LoadedModel(spec, module, args, kwargs, SeededWeights(spec.seed, module))


def build_transformers(model_class: Any, config: PretrainedConfig, spec: ModelSpec) -> nn.Module:
    """The class on meta with each tensor in the dtype that ``from_pretrained(dtype=...)`` would give it."""
    if getattr(config, "use_cache", False):
        config.use_cache = False  # one forward pass: a cache would be filled, returned and thrown away
    dtype = getattr(torch, spec.dtype)
    module = build_on_meta(lambda: model_class._from_config(config, dtype=dtype), seed=spec.seed)
    _keep_in_float32(module, dtype)
    return module


def check_names(module: nn.Module, spec: ModelSpec) -> None:
    """Raise :class:`UsageError` when the spec feeds an input that ``forward`` doesn't name."""
    known = list(inspect.signature(module.forward).parameters)
    for item in spec.inputs:
        if item.name not in known:
            raise UsageError(
                f"{type(module).__name__} of {spec.source} has no input {item.name!r}",
                hint=f"it has {', '.join(known)}",
            )


def _keep_in_float32(module: nn.Module, dtype: torch.dtype) -> None:
    """Give the parameters that the class keeps in float32 (T5's ``wo`` in float16) that dtype."""
    from transformers.core_model_loading import build_glob_alternation

    plan = module._get_dtype_plan(dtype)  # type: ignore[operator]
    if not plan:
        return
    pattern, _, _ = build_glob_alternation(list(plan))
    for name, parameter in module.named_parameters():
        if pattern.search(name):
            parameter.data = parameter.data.to(torch.float32)
