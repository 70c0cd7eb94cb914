"""Sizes that vary from item to item: dimensions that an input's spec calls ``batch`` or ``seq``.

A graph with such sizes reads them from nodes of its own, ``item_size("batch")``, and from nowhere else. So what
depends on sizes alone (lengths, positions, masks) is free: every stage works it out for itself, once for each shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy
import torch
from torch import fx
from torch.export import Dim, ShapesCollection
from torch.utils import _pytree as pytree
from torch.utils._sympy.interp import sympy_interp
from torch.utils._sympy.reference import PythonReferenceAnalysis

from partkit.data.model import ModelSpec

Symbols = Mapping[str, sympy.Symbol]
"""The symbol of each size in the shapes of a graph's values."""


def item_size(label: str) -> int:
    """The operation of the nodes that give a size; a stage is made for given sizes and never runs it."""
    raise AssertionError(f"the size {label!r} was not filled in")


def dynamic_shapes(spec: ModelSpec, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> ShapesCollection | None:
    """The ``dynamic_shapes`` for torch.export: sizes that vary go from 1 to the example's; None where none varies."""
    if not spec.sizes:
        return None
    dims = {label: Dim(label, min=1, max=largest) for label, largest in spec.sizes.items()}
    leaves = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    shapes = ShapesCollection()
    for leaf, each in zip(leaves, spec.inputs, strict=True):
        if each.dynamic:
            shapes[leaf] = {int(dimension): dims[label] for dimension, label in each.dynamic.items()}
    return shapes


def bind_sizes(graph: fx.Graph, spec: ModelSpec) -> Symbols:
    """Have the graph read its sizes from ``item_size`` nodes, in place; returns the symbol of each."""
    symbols: dict[str, sympy.Symbol] = {}
    values: dict[str, torch.SymInt] = {}
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    for node, each in zip(placeholders, spec.inputs, strict=True):
        for dimension, label in each.dynamic.items():
            values[label] = node.meta["val"].shape[int(dimension)]
            symbols[label] = expression(values[label])
    if not symbols:
        return {}
    with graph.inserting_before(next(iter(graph.nodes))):
        sources = {symbol: _size_node(graph, label, values[label]) for label, symbol in sorted(symbols.items())}
    for node in list(graph.nodes):
        value = node.meta.get("val")
        if node.target is item_size or not isinstance(value, torch.SymInt):
            continue
        wanted = expression(value)
        if wanted.free_symbols <= set(sources):
            with graph.inserting_before(node):
                proxies = {symbol: fx.Proxy(source) for symbol, source in sources.items()}
                found = sympy_interp(PythonReferenceAnalysis, proxies, wanted)
            if isinstance(found, fx.Proxy):
                found.node.meta.setdefault("val", value)
            node.replace_all_uses_with(found.node if isinstance(found, fx.Proxy) else found)
            graph.erase_node(node)
    return symbols


def expression(number: int | torch.SymInt) -> sympy.Expr:
    """A dimension or stride as an expression of the sizes."""
    return sympy.Integer(number) if isinstance(number, int) else number.node.expr


def concrete(numbers: tuple[int | torch.SymInt, ...], symbols: Symbols, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Dimensions or strides for given sizes."""
    values = {symbol: sympy.Integer(sizes[label]) for label, symbol in symbols.items()}
    return tuple(n if isinstance(n, int) else int(n.node.expr.xreplace(values)) for n in numbers)


def _size_node(graph: fx.Graph, label: str, value: torch.SymInt) -> fx.Node:
    node = graph.create_node("call_function", item_size, (label,), name=f"size_{label}")
    node.meta = {"val": value}
    return node
