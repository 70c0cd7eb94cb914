"""Build transformers classes from a config, as transformers itself would; shared by the presets and ``hf:``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from partkit.data.model import ModelSpec
from partkit.errors import UsageError
from partkit.models.inputs import synthetic_inputs
from partkit.models.packages import import_package
from partkit.models.sources.loaded import LoadedModel
from partkit.models.sources.meta_build import build_on_meta
from partkit.models.weights import SeededWeights, WeightSource

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_INSTALL = "pip install 'transformers>=5'"


def import_transformers() -> Any:
    """The package; raises :class:`MachineError` with the cause or the install command where it can't be imported."""
    os.environ.setdefault("USE_HUB_KERNELS", "NO")  # else some models fetch compiled code where 'kernels' is installed
    import_package("transformers.modeling_utils", install=_INSTALL)  # the package itself imports next to nothing
    return import_package("transformers", install=_INSTALL)


def load_config(model_type: str, settings: Mapping[str, object]) -> PretrainedConfig:
    """A transformers config of a model type with some settings changed."""
    return import_transformers().AutoConfig.for_model(model_type, **settings)


def load_seeded(spec: ModelSpec, config: PretrainedConfig, architecture: str) -> LoadedModel:
    """A transformers class by its name, with seeded weights; the spec's inputs are resolved already."""
    module = build_transformers(getattr(import_transformers(), architecture)._from_config, config, spec)
    return feed(spec, module, SeededWeights(spec.seed, module))


def build_transformers(make: Callable[..., nn.Module], config: PretrainedConfig, spec: ModelSpec) -> nn.Module:
    """A model on meta with each tensor in the dtype that ``from_pretrained(dtype=...)`` would give it.

    ``make`` is called with the config and a dtype, as a class's ``_from_config`` or an auto class's ``from_config``.
    """
    if getattr(config, "use_cache", False):
        config.use_cache = False  # one forward pass: a cache would be filled, returned and thrown away
    dtype = getattr(torch, spec.dtype)
    module = build_on_meta(lambda: make(config, dtype=dtype), seed=spec.seed)
    _keep_in_float32(module, dtype)
    return module


def feed(spec: ModelSpec, module: nn.Module, weights: WeightSource) -> LoadedModel:
    """The loaded model with item 0 of its synthetic inputs, by keyword.

    Raises :class:`UsageError` when the spec feeds an input that ``forward`` doesn't name.
    """
    known = list(inspect.signature(module.forward).parameters)
    for item in spec.inputs:
        if item.name not in known:
            raise UsageError(
                f"{type(module).__name__} of {spec.source} has no input {item.name!r}",
                hint=f"it has {', '.join(known)}",
            )
    return LoadedModel(spec, module, (), dict(synthetic_inputs(spec, 0)), weights)


def _keep_in_float32(module: nn.Module, dtype: torch.dtype) -> None:
    """Give the tensors that the class keeps in float32 (T5's ``wo`` in float16) that dtype."""
    from transformers.core_model_loading import build_glob_alternation

    plan = module._get_dtype_plan(dtype)  # type: ignore[operator]
    if not plan:
        return
    pattern, _, _ = build_glob_alternation(list(plan))
    stored = module.state_dict().keys()  # other buffers aren't loaded, so from_pretrained leaves them alone
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if name in stored and pattern.search(name):
            tensor.data = tensor.data.to(torch.float32)
