"""Weights by name: read just the tensors that a stage holds, from a seed, a checkpoint or a live module."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from partkit.errors import WeightsError
from partkit.models.checkpoint import TORCH_NAME_BY_DTYPE, Checkpoint

_SCALE_NAME = re.compile(r"(weight|gamma|scale|lambda_?\d*)$")
"""Ends of the names of one-dimensional parameters that scale, and so are seeded near 1."""
_SPREAD = 0.02
_PLAIN_FLOATS = frozenset(("F64", "F32", "F16", "BF16"))
"""Stored dtypes that cast to one another by value."""


class WeightSource(Protocol):
    """Where a model's parameters and persistent buffers come from, one at a time."""

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise :class:`WeightsError` unless every name can be read in its shape; reads no data."""

    def read(self, name: str) -> torch.Tensor:
        """One parameter or persistent buffer on CPU, in the dtype it has in the module; not to be written to.

        ``name`` is its dotted name in the module; of tied names any will do.
        """


def canonical_names(module: nn.Module) -> dict[str, str]:
    """The first name of each parameter and buffer, by every name it has: tied weights have the same one.

    >>> tied = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    >>> tied[1].weight = tied[0].weight
    >>> canonical_names(tied)
    {'0.weight': '0.weight', '1.weight': '0.weight'}
    """
    first_by_id: dict[int, str] = {}
    return {name: first_by_id.setdefault(id(tensor), name) for name, tensor in named_tensors(module)}


def named_tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Every parameter, then every buffer, under each of its names."""
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def parameter_slots(module: nn.Module) -> Iterator[tuple[nn.Module, str, str, nn.Parameter]]:
    """Where each parameter is kept: owning module, attribute, dotted name, parameter; tied ones many times."""
    for path, owner in module.named_modules():
        for leaf, parameter in owner._parameters.items():
            if parameter is not None:
                yield owner, leaf, f"{path}.{leaf}".lstrip("."), parameter


class SeededWeights:
    """Random weights that depend on nothing but the seed and each parameter's name and shape.

    So any split of a model has the same weights as the whole. Buffers are the module's own.
    """

    def __init__(self, seed: int, module: nn.Module) -> None:
        self._seed = seed
        self._tensors = dict(named_tensors(module))
        self._canonical = canonical_names(module)

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise :class:`WeightsError` for a name or shape that the module doesn't have."""
        check_shapes(shapes, {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}, "the model")

    def read(self, name: str) -> torch.Tensor:
        """The seeded tensor of that name."""
        tensor = find_tensor(self._tensors, name, "the model")
        if not tensor.is_meta:
            return tensor.detach()
        return seeded_tensor(self._seed, self._canonical[name], tuple(tensor.shape)).to(tensor.dtype)


class ModuleWeights:
    """The weights of a live module: the user's own, as a ``py:`` factory or a ``pt2:`` archive made them."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._tensors = tensors

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise :class:`WeightsError` for a name or shape that the module doesn't have."""
        check_shapes(shapes, {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}, "the model")

    def read(self, name: str) -> torch.Tensor:
        """The module's own tensor, not a copy."""
        return find_tensor(self._tensors, name, "the model").detach()


@dataclass(frozen=True)
class Recipe:
    """How one tensor of a model is made of a checkpoint's: which keys, in what shape, through what conversion."""

    keys: tuple[str, ...]
    shape: tuple[int, ...]
    convert: Callable[..., Mapping[str, torch.Tensor]] | None = None
    """From the keys' tensors to tensors by name; None: the one key's tensor as it is."""


class SafetensorsWeights:
    """The weights of a checkpoint, each read by itself when it is asked for."""

    def __init__(self, checkpoint: Checkpoint, recipes: Mapping[str, Recipe], module: nn.Module) -> None:
        """``recipes`` are by the module's names, one name of a tie being enough; ``module`` is on meta."""
        self._checkpoint = checkpoint
        self._tensors = dict(named_tensors(module))
        self._canonical = canonical_names(module)
        self._recipes = {self._canonical[name]: (name, recipe) for name, recipe in reversed(list(recipes.items()))}
        self._owner = type(module).__name__
        stored = module.state_dict().keys()
        self._kept = {name: each for name, each in self._tensors.items() if not each.is_meta and name not in stored}

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise :class:`WeightsError` for the first name that is missing or has another shape."""
        for name, shape in shapes.items():
            _, recipe = self._find(name)
            if recipe is None:
                continue
            if recipe.shape != tuple(shape):
                raise self._wrong_shape(name, recipe, shape)
            self._check_kind(name, recipe)

    def _wrong_shape(self, name: str, recipe: Recipe, needed: tuple[int, ...]) -> WeightsError:
        first, last, num_keys = recipe.keys[0], recipe.keys[-1], len(recipe.keys)
        what = f"tensor {first!r} makes" if num_keys == 1 else f"{num_keys} tensors from {first!r} to {last!r} make"
        return WeightsError(
            f"{self._checkpoint.entries[first].file}: {what} {name!r} of shape {list(recipe.shape)}, and "
            f"{self._owner} needs {list(needed)}",
            hint="the config.json beside it belongs to another model"
            + ("" if num_keys == 1 else ", or one of the tensors is missing"),
        )

    def _check_kind(self, name: str, recipe: Recipe) -> None:
        """Refuse quantized data in place of plain: cast, it would be numbers without their scale."""
        for entry, key in ((self._checkpoint.entries[key], key) for key in recipe.keys):
            if self._tensors[name].is_floating_point() and entry.dtype not in _PLAIN_FLOATS:
                raise WeightsError(
                    f"{entry.file}: tensor {key!r} is {entry.dtype}, and {self._owner} needs floating-point numbers",
                    hint="the checkpoint is quantized: use the unquantized model",
                )

    def read(self, name: str) -> torch.Tensor:
        """The checkpoint's tensor of that name, in the module's dtype. Raises :class:`WeightsError` for damage."""
        made_as, recipe = self._find(name)
        if recipe is None:
            return self._kept[name].detach()
        dtype = self._tensors[name].dtype
        if recipe.convert is None:
            return self._read_as(dtype, recipe.keys[0])
        pieces = [self._checkpoint.read_as(key, dtype) for key in recipe.keys]
        return recipe.convert(*pieces)[made_as]

    def _read_as(self, dtype: torch.dtype, key: str) -> torch.Tensor:
        """Mapped where it is stored so; where it is cast, mapped pages would only add to the copy."""
        stored = TORCH_NAME_BY_DTYPE.get(self._checkpoint.entries[key].dtype)
        if stored is None or getattr(torch, stored) == dtype:
            return self._checkpoint.read(key)
        return self._checkpoint.read_as(key, dtype)

    def _find(self, name: str) -> tuple[str, Recipe | None]:
        """The name under which the recipe makes the tensor, and the recipe; None for a buffer kept as built."""
        found = self._recipes.get(self._canonical.get(name, name))
        if found is not None:
            return found
        if name in self._kept:
            return name, None
        raise WeightsError(
            f"{self._checkpoint.path} has no tensor for {name!r} of {self._owner}",
            hint="the checkpoint is of another model or task, or incomplete",
        )


def seeded_tensor(seed: int, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The float32 weights of one parameter, a function of the three arguments alone.

    Matrices and kernels are N(0, 1 / fan_in), fan_in being the product of all dimensions but the first;
    scales (by their name) are 1 + 0.02 N, and everything else of one dimension, biases mostly, 0.02 N.
    """
    digest = hashlib.sha256(f"{seed}\n{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
    values = torch.randn(shape, generator=generator, dtype=torch.float32)
    if len(shape) >= 2:
        return values.mul_(1 / math.sqrt(max(1, math.prod(shape[1:]))))
    centre = 1.0 if _SCALE_NAME.search(name.rpartition(".")[2].lower()) else 0.0
    return values.mul_(_SPREAD).add_(centre)


def check_shapes(asked: Mapping[str, tuple[int, ...]], known: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Raise :class:`WeightsError` for the first asked name that isn't known or has another shape."""
    for name, shape in asked.items():
        if name not in known:
            raise WeightsError(f"{where} has no tensor {name!r}")
        if tuple(shape) != known[name]:
            raise WeightsError(f"{name!r} of {where} has shape {list(known[name])}, and {list(shape)} is needed")


def find_tensor(tensors: Mapping[str, torch.Tensor], name: str, where: str) -> torch.Tensor:
    """The tensor of a name; raises :class:`WeightsError` when there is none."""
    if name not in tensors:
        raise WeightsError(f"{where} has no tensor {name!r}")
    return tensors[name]
