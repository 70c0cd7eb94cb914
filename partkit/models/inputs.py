"""Synthetic inputs: the same for a seed and an item in every process, so that any two ways to run can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from partkit.data.model import InputSpec, ModelSpec
from partkit.errors import UsageError

if TYPE_CHECKING:
    from partkit.models.sources.loaded import LoadedModel

_LARGEST_INT = 2**63 - 1
"""The largest end of a range that torch.randint takes: the largest int64 itself is never drawn."""

_UNDRAWN = (torch.uint16, torch.uint32, torch.uint64)
"""Dtypes that torch.randint does not draw in."""


def synthetic_inputs(spec: ModelSpec, item: int) -> dict[str, torch.Tensor]:
    """The tensors of one item by input name, on CPU, a function of ``spec.seed``, the item and the specs alone.

    Integers are uniform in their range (0 and 1 where none is given), floats are normal (uniform in their range
    where one is given), booleans and masks (by their name) are all true.
    """
    return {each.name: synthetic_tensor(each, spec.seed, item) for each in spec.inputs}


def split_arguments(
    loaded: LoadedModel, tensors_by_name: Mapping[str, torch.Tensor]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The model's positional and keyword arguments with its tensors replaced by those of the given names.

    Arguments that aren't tensors stay as in the example. Raises :class:`UsageError` for a missing name.
    """
    leaves, structure = pytree.tree_flatten((loaded.args, loaded.kwargs))
    names = iter(loaded.spec.inputs)
    replaced = []
    for leaf in leaves:
        if not isinstance(leaf, torch.Tensor):
            replaced.append(leaf)
            continue
        name = next(names).name
        if name not in tensors_by_name:
            raise UsageError(f"the input {name!r} is missing", hint=f"given: {', '.join(tensors_by_name) or 'none'}")
        replaced.append(tensors_by_name[name])
    args, kwargs = pytree.tree_unflatten(replaced, structure)
    return args, kwargs


def synthetic_tensor(spec: InputSpec, seed: int, item: int) -> torch.Tensor:
    """One input of one item; see :func:`synthetic_inputs`."""
    dtype = getattr(torch, spec.dtype)
    if dtype == torch.bool or "mask" in spec.name:
        return torch.ones(spec.shape, dtype=dtype)
    digest = hashlib.sha256(f"{seed}\n{item}\n{spec.name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
    if not (dtype.is_floating_point or dtype.is_complex):
        first, end = (int(bound) for bound in spec.range or (0, 2))
        if end - first == 1:
            return torch.full(spec.shape, first, dtype=dtype)
        drawn_in = torch.int64 if dtype in _UNDRAWN else dtype
        return torch.randint(first, min(end, _LARGEST_INT), spec.shape, generator=generator, dtype=drawn_in).to(dtype)
    if spec.range is not None:
        low, high = spec.range
        return (torch.rand(spec.shape, generator=generator) * (high - low) + low).to(dtype)
    drawn_in = dtype if dtype.is_complex else torch.float32
    return torch.randn(spec.shape, generator=generator, dtype=drawn_in).to(dtype)
