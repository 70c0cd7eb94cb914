"""Build an ``hf:`` model from its folder and map its tensors to its checkpoint's."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from partkit.data.model import ModelSpec
from partkit.data.reading import in_one_line
from partkit.errors import UsageError, WeightsError
from partkit.models.checkpoint import TORCH_NAME_BY_DTYPE, Checkpoint, find_checkpoint
from partkit.models.sources.base import asked_dtype
from partkit.models.sources.casting import PRECISIONS
from partkit.models.sources.hf_config import AUTO_CLASS_BY_TASK, read_config
from partkit.models.sources.key_conversion import ignored_when_surplus, recipes_by_name
from partkit.models.sources.loaded import LoadedModel
from partkit.models.sources.transformers_inputs import resolve_inputs
from partkit.models.sources.transformers_model import build_transformers, feed, import_transformers
from partkit.models.weights import (
    Recipe,
    SafetensorsWeights,
    SeededWeights,
    WeightSource,
    canonical_names,
    parameter_slots,
)


def load_folder(spec: ModelSpec, folder: Path) -> LoadedModel:
    """The model of a folder with everything checked; see :class:`partkit.models.sources.hf.HuggingFaceSource`.

    Raises :class:`UsageError` for a config that cannot be built, :class:`WeightsError` for a damaged checkpoint.
    """
    checkpoint = find_checkpoint(folder)
    config = _load_config(spec, folder)
    spec = spec.model_copy(update={"dtype": _dtype(spec, config, checkpoint)})
    with _faults_of_config(folder):
        module = build_transformers(_maker(spec, folder, config), config, spec)
    spec = spec.model_copy(update={"inputs": resolve_inputs(spec, module, config)})
    weights = SeededWeights(spec.seed, module) if checkpoint is None else _checkpoint_weights(module, checkpoint)
    return feed(spec, module, weights)


def _dtype(spec: ModelSpec, config: Any, checkpoint: Checkpoint | None) -> str:
    """What ``--dtype`` or a plan says, else what ``from_pretrained(dtype="auto")`` gives a model.

    That is one dtype, the config's or else that of the first floating-point tensor by name in the first file, even
    where the checkpoint has several: what a class keeps in float32 is its own affair.
    """
    if asked_dtype(spec) is not None or spec.structure_sha256 is not None:
        return spec.dtype
    names = {dtype: str(dtype).removeprefix("torch.") for dtype in PRECISIONS}
    told = getattr(config, "dtype", None)
    if told is not None:
        return names.get(told, spec.dtype)
    if checkpoint is None:
        return spec.dtype
    entries = sorted((entry.file.name, key, entry.dtype) for key, entry in checkpoint.entries.items())
    stored = [TORCH_NAME_BY_DTYPE.get(dtype) for _, _, dtype in entries]
    return next((name for name in stored if name in names.values() and name is not None), spec.dtype)


def _load_config(spec: ModelSpec, folder: Path) -> Any:
    transformers = import_transformers()
    raw = read_config(folder)
    trusted = bool(spec.options.get("trust_remote_code"))
    if "quantization_config" in raw:
        raise UsageError(
            f"{folder / 'config.json'} is of a quantized checkpoint, which partkit can't split",
            hint="use the unquantized model",
        )
    own_code = "auto_map" in raw and raw.get("model_type") not in transformers.CONFIG_MAPPING
    if own_code and not trusted:
        raise UsageError(
            f"{folder} comes with code of its own ({', '.join(sorted(map(str, raw['auto_map'])))})",
            hint="read that code, then add --trust-remote-code",
        )
    with _faults_of_config(folder):
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trusted)
    if not trusted:
        for each in (raw, config):  # what transformers made of it may come from another file that the first names
            _refuse_kernels(each, folder)
    return config


def _refuse_kernels(config: Any, folder: Path) -> None:
    """Raise :class:`UsageError` where the config, or one within it, has transformers load compiled code from the hub.

    transformers' own Flash Attention counts too: where it is not installed, its kernels come from the hub.
    """
    for name, value in list(vars(config).items() if hasattr(config, "__dict__") else config.items()):
        if str(name).strip("_").startswith(("attn_implementation", "experts_implementation")):
            for asked in value.values() if isinstance(value, dict) else (value,):
                if isinstance(asked, str) and ("/" in asked or "flash" in asked):
                    raise UsageError(
                        f"{folder} asks for the kernel {asked!r}, which is code that comes with no model",
                        hint=f"take {name.removesuffix('_internal').strip('_')} out of config.json",
                    )
        elif isinstance(value, dict) or hasattr(value, "_attn_implementation_internal"):
            _refuse_kernels(value, folder)


@contextlib.contextmanager
def _faults_of_config(folder: Path) -> Iterator[None]:
    """Turn what transformers raises for a config that it can't build into :class:`UsageError`."""
    from huggingface_hub.errors import StrictDataclassError

    try:
        yield
    except (
        *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
        *(OSError, ImportError, RuntimeError, StrictDataclassError),
    ) as error:
        raise UsageError(
            f"transformers {import_transformers().__version__} can't build the model of {folder}: {in_one_line(error)}",
            hint="check config.json and --task, or upgrade transformers",
        ) from error


def _maker(spec: ModelSpec, folder: Path, config: Any) -> Callable[..., nn.Module]:
    """The constructor of the model of a config: the task's auto class, or the config's own first architecture."""
    transformers = import_transformers()
    auto_class = None if spec.task is None else AUTO_CLASS_BY_TASK[spec.task]
    name = "" if auto_class else config.architectures[0]
    if spec.options.get("trust_remote_code"):
        for auto, reference in (getattr(config, "auto_map", None) or {}).items():
            if isinstance(reference, str) and (auto == auto_class or reference.rpartition(".")[2] == name):
                from transformers.dynamic_module_utils import get_class_from_dynamic_module

                return partial(get_class_from_dynamic_module(reference, folder, local_files_only=True)._from_config)
    if auto_class:
        return partial(getattr(transformers, auto_class).from_config, trust_remote_code=False)
    model_class = getattr(transformers, name, None)
    if model_class is None:
        raise UsageError(
            f"transformers {transformers.__version__} has no class {name}, which {folder / 'config.json'} names",
            hint="add --task, or upgrade transformers",
        )
    return partial(model_class._from_config)


def _checkpoint_weights(module: nn.Module, checkpoint: Checkpoint) -> WeightSource:
    """The checkpoint's weights, every name and shape checked; stored buffers are put in place in the module."""
    recipes, surplus = recipes_by_name(module, checkpoint)
    _untie_what_differs(module, recipes, checkpoint)
    weights = SafetensorsWeights(checkpoint, recipes, module)
    stored = module.state_dict()
    weights.check({name: tuple(tensor.shape) for name, tensor in stored.items()})
    _refuse_surplus(module, surplus, checkpoint)
    for path, owner in module.named_modules():
        for leaf in owner._buffers.keys() - owner._non_persistent_buffers_set:
            if owner._buffers[leaf] is not None:
                owner._buffers[leaf] = weights.read(f"{path}.{leaf}".lstrip("."))
    return weights


def _untie_what_differs(module: nn.Module, recipes: Mapping[str, Recipe], checkpoint: Checkpoint) -> None:
    """Separate tied parameters whose tensors differ in the checkpoint, as ``from_pretrained`` does."""
    canonical = canonical_names(module)
    for owner, leaf, name, parameter in list(parameter_slots(module)):
        first = canonical[name]
        if name == first or not {name, first} <= recipes.keys() or recipes[name].shape != recipes[first].shape:
            continue
        if recipes[name].convert or recipes[first].convert:
            continue
        if not torch.equal(checkpoint.read(recipes[name].keys[0]), checkpoint.read(recipes[first].keys[0])):
            owner._parameters[leaf] = nn.Parameter(parameter.detach().clone(), requires_grad=False)


def _refuse_surplus(module: Any, surplus: Mapping[str, str], checkpoint: Checkpoint) -> None:
    """Raise :class:`WeightsError` for a tensor that no class of this model's family has a place for.

    Heads that the chosen class leaves out (a pooler, a next-sentence classifier) are fine; a thirteenth layer isn't.
    """
    pattern = ignored_when_surplus(module)
    unknown = {key: name for key, name in surplus.items() if pattern is None or not pattern.search(name)}
    if not unknown:
        return
    family = _names_of_family(module.config)
    for key, name in unknown.items():
        if family.isdisjoint((key, name, f"{module.base_model_prefix}.{key}")):
            raise WeightsError(
                f"{checkpoint.entries[key].file}: tensor {key!r} has no place in {type(module).__name__}",
                hint="the config.json beside it belongs to another model",
            )


def _names_of_family(config: Any) -> set[str]:
    """Every name that the config's own architectures and its pretraining and base classes give to a tensor."""
    transformers = import_transformers()
    makers = [
        getattr(transformers, name)._from_config for name in config.architectures or () if hasattr(transformers, name)
    ]
    auto_classes = (transformers.AutoModelForPreTraining, transformers.AutoModel)
    makers += [partial(auto_class.from_config, trust_remote_code=False) for auto_class in auto_classes]
    names: set[str] = set()
    for make in makers:
        with contextlib.suppress(ValueError), torch.device("meta"):
            names |= make(copy.deepcopy(config)).state_dict().keys()
    return names
