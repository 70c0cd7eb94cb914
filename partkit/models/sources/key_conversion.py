"""From a checkpoint's keys to a transformers model's names, by transformers' own rules.

transformers 5 renames keys (old norm names, base model prefixes) and converts tensors (Mixtral's experts are
stored one by one and used stacked). Its loader does so for whole models; here each name gets a recipe, so that
one tensor can be read alone. This file is the only one that touches transformers' loading internals.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

from partkit.errors import WeightsError
from partkit.models.checkpoint import Checkpoint
from partkit.models.weights import Recipe

Group = list[tuple[str, str]]
"""The (checkpoint key, source pattern) pairs that one conversion takes, in transformers' order."""


def recipes_by_name(model: Any, checkpoint: Checkpoint) -> tuple[dict[str, Recipe], dict[str, str]]:
    """How to read each of the model's names, and the renamed checkpoint keys that no name takes, by key.

    ``model`` is a transformers model, on meta. Raises :class:`WeightsError` when a conversion doesn't fit.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, dot_natural_key, rename_source_key

    transforms = get_model_conversion_mapping(model)
    renamings = [each for each in transforms if isinstance(each, WeightRenaming)]
    converters = [each for each in transforms if isinstance(each, WeightConverter)]
    converter_by_pattern = {pattern: each for each in converters for pattern in each.source_patterns}
    known, prefix = model.state_dict(), model.base_model_prefix
    recipes: dict[str, Recipe] = {}
    surplus: dict[str, str] = {}
    groups: dict[str, Group] = {}
    for key in sorted(checkpoint.entries, key=dot_natural_key):
        name, pattern = rename_source_key(key, renamings, converters, prefix, known)
        if name not in known and key in known:
            name, pattern = rename_source_key(key, [], [], prefix, known)
        if name not in known:
            surplus[key] = name
        elif pattern is None:
            recipes.setdefault(name, Recipe((key,), checkpoint.entries[key].shape))
        else:
            groups.setdefault(name, []).append((key, pattern))
    for name, group in groups.items():
        convert = _conversion(converter_by_pattern[group[0][1]], model, name, group)
        recipes |= _converted(name, group, convert, checkpoint)
    return recipes, surplus


def ignored_when_surplus(model: Any) -> re.Pattern[str] | None:
    """Names that transformers silently ignores in a checkpoint, such as old position ids."""
    patterns = set(model._keys_to_ignore_on_load_unexpected or ())
    buffers = [name for name, _ in model.named_buffers()]
    if any(name.endswith("rotary_emb.inv_freq") for name in buffers):
        patterns.add(r"rotary_emb\.inv_freq")
    if any(name.endswith("position_ids") for name in buffers):
        patterns.add(r"(^|\.)position_ids$")
    return re.compile("|".join(f"(?:{pattern})" for pattern in sorted(patterns))) if patterns else None


def _conversion(converter: Any, model: Any, name: str, group: Group) -> Callable[..., Mapping[str, torch.Tensor]]:
    def convert(*tensors: torch.Tensor) -> Mapping[str, torch.Tensor]:
        own = copy.deepcopy(converter)  # it collects tensors in itself
        for (key, pattern), tensor in zip(group, tensors, strict=True):
            own.add_tensor(name, key, pattern, tensor)
        made = own.convert(name, model=model, config=model.config)
        return {each: value[0] if isinstance(value, list) else value for each, value in made.items()}

    return convert


def _converted(
    name: str, group: Group, convert: Callable[..., Mapping[str, torch.Tensor]], checkpoint: Checkpoint
) -> dict[str, Recipe]:
    """The recipes of one conversion's results, whose names and shapes come from a dry run on meta."""
    keys = tuple(key for key, _ in group)
    entries = [checkpoint.entries[key] for key in keys]
    try:
        made = convert(*(torch.empty(entry.shape, device="meta") for entry in entries))
    except (RuntimeError, ValueError, KeyError, IndexError, TypeError) as error:
        raise WeightsError(
            f"{entries[0].file}: {len(keys)} tensors from {keys[0]!r} to {keys[-1]!r} don't make {name!r}: {error}"
        ) from None
    return {each: Recipe(keys, tuple(tensor.shape), convert) for each, tensor in made.items()}
