"""Weights for a ``py:`` module that are not its factory's: safetensors by the module's own names (``--weights``)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from partkit.errors import WeightsError
from partkit.models.checkpoint import Checkpoint, open_weights
from partkit.models.weights import Recipe, SafetensorsWeights, canonical_names


def put_on_weights(module: nn.Module, path: Path) -> SafetensorsWeights:
    """The weights at ``path`` for a module on meta, every name and shape checked; stored buffers are put in place.

    Raises :class:`WeightsError` for tensors that are missing, of another shape or without a place.
    """
    checkpoint, stored = open_weights(path), module.state_dict()
    _require_match(type(module).__name__, canonical_names(module), stored, checkpoint)
    found = stored.keys() & checkpoint.entries.keys()
    recipes = {name: Recipe((name,), tuple(stored[name].shape)) for name in stored if name in found}
    weights = SafetensorsWeights(checkpoint, recipes, module)
    weights.check({name: tuple(stored[name].shape) for name in recipes})
    for prefix, owner in module.named_modules():
        for leaf in owner._buffers.keys() - owner._non_persistent_buffers_set:
            if owner._buffers[leaf] is not None:
                owner._buffers[leaf] = weights.read(f"{prefix}.{leaf}".lstrip("."))
    return weights


def _require_match(
    owner: str, canonical: Mapping[str, str], stored: Mapping[str, torch.Tensor], checkpoint: Checkpoint
) -> None:
    entries = checkpoint.entries
    given = {canonical.get(name, name) for name in entries}
    missing = [name for name in stored if canonical.get(name, name) not in given]
    surplus = [name for name in entries if name not in stored]
    shapes = {name: (list(entries[name].shape), list(stored[name].shape)) for name in stored if name in entries}
    wrong = [name for name, (there, needed) in shapes.items() if there != needed]
    told = []
    if missing:
        told.append(f"{len(missing)} of {len(stored)} tensors of {owner} are missing, the first {missing[0]!r}")
    if surplus:
        told.append(f"{len(surplus)} of {len(entries)} have no place in {owner}, the first {surplus[0]!r}")
    if wrong:
        there, needed = shapes[wrong[0]]
        told.append(f"{len(wrong)} have another shape, the first {wrong[0]!r}: {there} where {owner} needs {needed}")
    if not told:
        return
    near = difflib.get_close_matches(missing[0], surplus, n=1, cutoff=0.5) if missing else []
    hint = f"is {near[0]!r} there what {missing[0]!r} is here?" if near else "save it of the same module's state_dict"
    raise WeightsError(f"{checkpoint.path}: {'; '.join(told)}", hint=hint)
