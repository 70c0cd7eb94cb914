"""The captured graph: what capture gives, and what profiling, planning and cutting work on."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import torch
from torch import fx
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols
from torch.utils import _pytree as pytree
from torch.utils._sympy.value_ranges import bound_sympy

from partkit.data.document import digest
from partkit.data.model import ModelSpec
from partkit.models.capture.sizes import Symbols, item_size
from partkit.models.decoding.state import extend
from partkit.models.structures import LostStructure


@dataclass(frozen=True)
class TensorInfo:
    """A parameter, buffer or constant that the graph reads."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    is_parameter: bool

    @property
    def num_bytes(self) -> int:
        """Size of the dense tensor."""
        return _num_elements(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Capture:
    """A model as one graph.

    ``graph`` has placeholders named as ``spec.inputs``, ``get_attr`` nodes whose targets are keys of
    ``tensors``, ``call_function`` nodes and an output of flat leaves; ``out_spec`` rebuilds the model's
    own output structure from the leaves. ``values`` holds the real buffers and constants.
    """

    spec: ModelSpec
    graph: fx.Graph
    tensors: Mapping[str, TensorInfo]
    values: Mapping[str, torch.Tensor]
    submodules: Mapping[str, torch.nn.Module]
    out_spec: pytree.TreeSpec
    free: frozenset[str] = field(default_factory=frozenset)
    """Names of nodes that depend on no model input."""
    symbols: Symbols = field(default_factory=dict)
    """Of the sizes that vary, as they stand in the shapes of ``meta["val"]``; the largest are ``spec.sizes``."""
    lost: LostStructure | None = None
    """Why ``out_spec`` is a flat tuple's and not the model's own, if it is."""

    @property
    def nodes(self) -> dict[str, fx.Node]:
        """Graph nodes by name, in order."""
        return {node.name: node for node in self.graph.nodes}

    @property
    def placed(self) -> tuple[str, ...]:
        """Names of the nodes that a plan places: all but parameters and free nodes."""
        return tuple(n.name for n in self.graph.nodes if n.op != "get_attr" and n.name not in self.free)


def structure_digest(captured: Capture) -> str:
    """SHA-256 over operations, arguments, shapes, dtypes and the names of parameters."""
    lines = [
        [node.op, node.name, operation_name(node), str(node.args), str(node.kwargs), str(_shapes(node))]
        for node in captured.graph.nodes
    ]
    tensors = {name: [list(info.shape), str(info.dtype)] for name, info in sorted(captured.tensors.items())}
    return digest([lines, tensors])


def operation_name(node: fx.Node) -> str:
    """The operation of a node, the same in every process."""
    if node.target is item_size:
        return "size"
    if isinstance(node.target, FunctionType):  # its text holds an address
        return f"{node.target.__module__}.{node.target.__qualname__}"
    return str(node.target)


def value_bytes(node: fx.Node) -> int:
    """Bytes of a node's value when sent: dense, one after the other; 8 for each plain number."""
    total = 0
    for leaf in pytree.tree_leaves(node.meta.get("val")):
        total += _num_elements(leaf.shape) * leaf.dtype.itemsize if isinstance(leaf, torch.Tensor) else 8
    return total


def module_path(node: fx.Node) -> str:
    """Path of the innermost nn.Module that a node came from; '' for the top."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return ""
    path = str(list(stack.values())[-1][0])
    return path.removeprefix("L['self'].").removeprefix("L['self']")


def has_known_shape(node: fx.Node) -> bool:
    """False for a value that is a plain number, sparse, or has a dimension known only once the model runs."""
    leaves = pytree.tree_leaves(node.meta.get("val"))
    return all(
        isinstance(leaf, torch.Tensor)
        and leaf.layout == torch.strided
        and not any(free_unbacked_symbols(size) for size in leaf.shape)
        for leaf in leaves
    )


def _num_elements(shape: tuple[int | torch.SymInt, ...]) -> int:
    """Elements of a shape at its largest; sizes known only when the model runs and without a limit count as 0."""
    count = 1
    for size in shape:
        count *= largest(size)
    return count


def largest(size: int | torch.SymInt) -> int:
    """A dimension at its largest; 0 for one that is known only when the model runs and has no limit."""
    if isinstance(size, int):
        return size
    upper = bound_sympy(size.node.expr, size.node.shape_env.var_to_range).upper
    return int(upper) if upper.is_Integer else 0


def _shapes(node: fx.Node) -> list[Any]:
    leaves = pytree.tree_leaves(node.meta.get("val"))
    return [(list(leaf.shape), str(leaf.dtype)) if isinstance(leaf, torch.Tensor) else str(leaf) for leaf in leaves]


def is_pick(node: fx.Node) -> bool:
    """True for the choice of one element out of an operation's tuple of results."""
    return node.op == "call_function" and node.target is operator.getitem


def view_base(node: fx.Node) -> fx.Node | None:
    """The operand whose memory the node's value shares; None where it has memory of its own.

    A reshape is taken for a view: it copies only where the operand's strides leave no other way.
    """
    if node.op != "call_function" or not node.all_input_nodes:
        return None
    if is_pick(node):
        return view_base(node.all_input_nodes[0])
    target = node.target
    if target is torch.ops.aten.reshape.default:
        return node.all_input_nodes[0]
    if target is extend:  # it gives the cache, which is there anyhow, with its operand in it
        return node.all_input_nodes[1]
    if not isinstance(target, torch._ops.OpOverload) or not target._schema.returns:
        return None
    alias = target._schema.returns[0].alias_info
    return node.all_input_nodes[0] if alias is not None and not alias.is_write else None


def is_random(node: fx.Node) -> bool:
    """True for an operation that draws random numbers."""
    target = node.target
    return isinstance(target, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded in target.tags


def is_repeatable(node: fx.Node) -> bool:
    """True for an operation with one tensor as its result, the same each time and wherever its operands are."""
    return (
        isinstance(node.target, torch._ops.OpOverload)
        and isinstance(node.meta.get("val"), torch.Tensor)
        and not is_random(node)
    )


def views_up_to_storage(node: fx.Node) -> list[fx.Node]:
    """The operands through which a window on memory sees more than its operand's own elements, nearest first.

    A value crosses between stages by its elements alone; what a view leaves out would be missing behind it.
    """
    views: list[fx.Node] = []
    base = node.all_input_nodes[0]
    while base.op == "call_function" and not _fills_its_storage(base):
        views.append(base)
        base = base.all_input_nodes[0]
    return views


def _fills_its_storage(node: fx.Node) -> bool:
    value = node.meta["val"]
    return bool(
        torch.ops.aten.is_non_overlapping_and_dense(value)
        and value.numel() * value.itemsize == value.untyped_storage().nbytes()
    )
