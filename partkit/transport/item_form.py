"""One item of a user's own data: what the model takes of it, and what the model gives back for it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from partkit.data.model import InputSpec
from partkit.errors import UsageError
from partkit.models.capture import Capture, has_known_shape
from partkit.models.structures import leaf_paths
from partkit.stages.cut import Computed, ValueSpec, largest_spec, value_spec


class ItemForm:
    """The inputs and outputs of a captured model, in the user's structure and as flat tensors by name."""

    def __init__(self, captured: Capture, wanted: Sequence[str] = ()) -> None:
        """``wanted``: names of :meth:`output_names` that alone come back; () for all. Raises :class:`UsageError`."""
        nodes = captured.nodes
        self.model = captured.spec
        self.specs = captured.spec.inputs
        self.inputs: tuple[ValueSpec, ...] = tuple(largest_spec(captured, nodes[spec.name]) for spec in self.specs)
        """What an item's slot holds of the inputs, in the order of the model's call."""
        output = next(node for node in captured.graph.nodes if node.op == "output")
        self.output_node: str = output.name
        leaves = output.args[0]
        assert isinstance(leaves, tuple | list)
        self.leaves: tuple[Any, ...] = tuple(
            Computed(leaf.name) if isinstance(leaf, fx.Node) else leaf for leaf in leaves
        )
        """The model's flat outputs: computed ones by name, or a constant as it is."""
        given = {leaf.name: leaf for leaf in leaves if isinstance(leaf, fx.Node)}
        for name, node in given.items():
            if not isinstance(node.meta.get("val"), torch.Tensor) or not has_known_shape(node):
                raise UsageError(
                    f"{captured.spec.source} returns {name}, which is a number or a size known only when it runs, and "
                    "no slot of shared memory can be made for it",
                    hint="return it as a tensor of known shape",
                )
        self._out_spec = captured.out_spec
        self.lost = captured.lost
        """Why :meth:`rebuild` gives a flat tuple, if it does."""
        self.wanted = self._chosen(wanted)
        """Value by name for people, in the order asked for, of the outputs that alone come back; {} where all do."""
        self._given = tuple(given[name] for name in dict.fromkeys(self.wanted.values() or given))
        self.outputs: tuple[ValueSpec, ...] = tuple(largest_spec(captured, node) for node in self._given)
        """What an item's slot holds of the outputs, each value once."""
        self._captured = captured
        self._known: dict[tuple[tuple[str, int], ...], tuple[tuple[ValueSpec, ...], tuple[ValueSpec, ...]]] = {}
        self.labels = tuple(captured.spec.sizes)
        """The sizes that vary from item to item."""
        self._dtype_by_name = {spec.name: getattr(torch, spec.dtype) for spec in self.specs}

    def inputs_of(self, sizes: Mapping[str, int]) -> tuple[ValueSpec, ...]:
        """``inputs`` of an item of these sizes."""
        return self._at(sizes)[0] if sizes else self.inputs

    def outputs_of(self, sizes: Mapping[str, int]) -> tuple[ValueSpec, ...]:
        """``outputs`` of an item of these sizes."""
        return self._at(sizes)[1] if sizes else self.outputs

    def sizes_of(self, bound: Mapping[str, torch.Tensor], number: int) -> dict[str, int]:
        """The sizes of an item's tensors. Raises :class:`UsageError` where they disagree."""
        sizes: dict[str, int] = {}
        for spec in self.specs:
            for place, label in spec.dynamic.items():
                size = bound[spec.name].shape[int(place)]
                if sizes.setdefault(label, size) != size:
                    raise UsageError(
                        f"item {number}: input {spec.name!r} has a {label} of {size}, and another input has "
                        f"{sizes[label]}"
                    )
        return sizes

    def _at(self, sizes: Mapping[str, int]) -> tuple[tuple[ValueSpec, ...], tuple[ValueSpec, ...]]:
        """Inputs and outputs of an item of these sizes, worked out once."""
        key = tuple(sizes.items())
        if key not in self._known:
            nodes, symbols = self._captured.nodes, self._captured.symbols
            inputs = tuple(value_spec(nodes[spec.name], symbols, sizes) for spec in self.specs)
            self._known[key] = inputs, tuple(value_spec(node, symbols, sizes) for node in self._given)
        return self._known[key]

    def bind(self, item: Any, number: int) -> dict[str, torch.Tensor]:
        """The item's tensors by input name: of a mapping by name, of a sequence by position, of a tensor itself.

        Raises :class:`UsageError` that names the item for other inputs, shapes or dtypes than the plan is for.
        """
        names = [spec.name for spec in self.specs]
        if isinstance(item, Mapping):
            given = dict(item)
        else:
            values = list(item) if isinstance(item, tuple | list) else [item]
            if len(values) != len(names):
                raise UsageError(
                    f"item {number} has {len(values)} inputs, and the plan's model takes {len(names)} "
                    f"({', '.join(names)})"
                )
            given = dict(zip(names, values, strict=True))
        if set(given) != set(names):
            raise UsageError(
                f"item {number} has the inputs {', '.join(map(str, given)) or 'none'}, and the plan's model takes "
                f"{', '.join(names)}"
            )
        for spec in self.specs:
            value = given[spec.name]
            is_as_planned = (
                isinstance(value, torch.Tensor)
                and value.dtype is self._dtype_by_name[spec.name]
                and tuple(value.shape) == spec.shape
            )
            if not is_as_planned:
                given[spec.name] = _fitting(value, spec, number)
        return given

    def rebuild(self, tensors: Mapping[str, torch.Tensor]) -> Any:
        """The model's own output structure around the item's output values; of chosen ones, a dict by name."""
        if self.wanted:
            return {name: tensors[value] for name, value in self.wanted.items()}
        return pytree.tree_unflatten(self.flat(tensors), self._out_spec)

    def flat(self, tensors: Mapping[str, torch.Tensor]) -> list[Any]:
        """The model's flat outputs: the item's output values, and constants; of chosen ones, those in their order."""
        if self.wanted:
            return [tensors[value] for value in self.wanted.values()]
        return [tensors[leaf.name] if isinstance(leaf, Computed) else leaf for leaf in self.leaves]

    def by_value(self, flat: Sequence[Any]) -> dict[str, torch.Tensor]:
        """What :meth:`flat` gave, by value name, without constants."""
        if self.wanted:
            return dict(zip(self.wanted.values(), flat, strict=True))
        pairs = zip(self.leaves, flat, strict=True)
        return {leaf.name: value for leaf, value in pairs if isinstance(leaf, Computed)}

    def _chosen(self, wanted: Sequence[str]) -> dict[str, str]:
        """The values of the names. Raises :class:`UsageError` where the model has no such output."""
        value_by_name = {name: value for value, name in self.output_names().items()}
        for name in wanted:
            if name not in value_by_name:
                raise UsageError(
                    f"{self.model.source} has no output {name!r}",
                    hint=f"its outputs are {', '.join(value_by_name) or 'constants only'}",
                )
        return {name: value_by_name[name] for name in wanted}

    def output_names(self) -> dict[str, str]:
        """A name for people of each output value: its path in the structure, as ``logits`` or ``hidden.0``."""
        paths = leaf_paths(self._out_spec) if self.lost is None else self.lost.paths
        named: dict[str, str] = {}
        for path, leaf in zip(paths, self.leaves, strict=True):
            if isinstance(leaf, Computed) and leaf.name not in named:
                choices = itertools.chain([path], (f"{path}_{number}" for number in itertools.count(1)))
                named[leaf.name] = next(name for name in choices if name not in named.values())
        return named


def _fitting(value: Any, spec: InputSpec, number: int) -> torch.Tensor:
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(f"item {number}: input {spec.name!r} is a {type(value).__name__}, and no tensor") from None
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype != spec.dtype or not _fits(tensor.shape, spec):
        _require_large_enough(tensor.shape, spec, number)
        shape = "x".join(map(str, tensor.shape)) or "1"
        raise UsageError(
            f"item {number}: input {spec.name!r} is {dtype} of shape {list(tensor.shape)}, and the plan is for "
            f"{spec.dtype} of shape {list(spec.shape)}",
            hint=f"convert or pad it, or plan again with --input {spec.name}={shape}:{dtype}",
        )
    return tensor


def _require_large_enough(shape: Sequence[int], spec: InputSpec, number: int) -> None:
    if len(shape) != len(spec.shape):
        return  # told with the whole shape
    for place, label in spec.dynamic.items():
        size, least, largest = shape[int(place)], spec.least(place), spec.shape[int(place)]
        if size < least and least > 1:
            raise UsageError(
                f"item {number}: input {spec.name!r} has a {label} of {size}, and the plan serves {least} to {largest}",
                hint=f"pad it, or export the program with Dim({label!r}, min={max(1, size)})",
            )


def _fits(shape: Sequence[int], spec: InputSpec) -> bool:
    """Whether a shape is the plan's, or smaller where it may vary."""
    return len(shape) == len(spec.shape) and all(
        size == planned or (str(place) in spec.dynamic and spec.least(place) <= size <= planned)
        for place, (size, planned) in enumerate(zip(shape, spec.shape, strict=True))
    )
