"""Names of a call's tensors, as torch.export names the placeholders of its graph."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from partkit.data.model import InputSpec
from partkit.errors import UsageError


def named_leaves(module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Every leaf of a call with the name of its path, in flattened order.

    Raises :class:`TypeError` when the call doesn't fit ``forward``.

    >>> named_leaves(nn.Linear(1, 1), (torch.ones(1),), {})
    [('input', tensor([1.]))]
    """
    bound = inspect.signature(module.forward).bind_partial(*args).arguments
    leaves, _ = pytree.tree_flatten_with_path({**bound, **kwargs})
    used: set[str] = set()
    named = []
    for path, leaf in leaves:
        base = "_".join(_path_part(key).lower() for key in path)
        name = next(
            each for each in (base, *(f"{base}_{index}" for index in range(1, len(leaves)))) if each not in used
        )
        used.add(name)
        named.append((name, leaf))
    return named


def describe_tensor(name: str, tensor: torch.Tensor) -> InputSpec:
    """The spec of an example tensor; integers keep the example's range, so that indices stay valid."""
    refuse_unlaid(f"input {name!r}", tensor)
    dtype = str(tensor.dtype).removeprefix("torch.")
    span = None
    if tensor.numel() and dtype != "bool" and not (tensor.is_floating_point() or tensor.is_complex()):
        wide = tensor.to(torch.int64)  # few operations know uint16 and its like
        span = (int(wide.min()), int(wide.max()) + 1)
    return InputSpec(name=name, shape=tuple(tensor.shape), dtype=dtype, range=span)


def refuse_unlaid(what: str, leaf: object) -> None:
    """Raise :class:`UsageError` for an input without strides or values, for which no slot can be made."""
    if not isinstance(leaf, torch.Tensor):
        return
    if leaf.is_nested:
        raise UsageError(f"{what} is a nested tensor", hint="pad it, or feed its values and offsets as two inputs")
    if leaf.layout != torch.strided:
        layout = str(leaf.layout).removeprefix("torch.")
        raise UsageError(f"{what} is {layout}", hint="feed its to_dense(), or its indices and values as two inputs")
    if leaf.is_meta:
        raise UsageError(f"{what} is on the meta device", hint="give it values: they are item 0 of the inputs")


def with_own_tensors(tree: Any) -> Any:
    """The same call with a copy of each tensor that it holds again: torch.export takes equal objects for one input."""
    seen: set[int] = set()

    def own(leaf: torch.Tensor) -> torch.Tensor:
        if id(leaf) in seen:
            return leaf.clone()
        seen.add(id(leaf))
        return leaf

    return pytree.tree_map_only(torch.Tensor, own, tree)


def _path_part(key: Any) -> str:
    if isinstance(key, pytree.SequenceKey):
        return str(key.idx)
    if isinstance(key, pytree.GetAttrKey):
        return key.name
    assert isinstance(key, pytree.MappingKey)
    return re.sub(r"[^a-zA-Z0-9]", "_", str(key.key))
