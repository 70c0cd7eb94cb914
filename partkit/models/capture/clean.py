"""Clean a captured graph: drop what changes no result at inference, and mark what depends on no input as free."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx

from partkit.models.capture.captured import is_random
from partkit.models.capture.sizes import expression, item_size

aten = torch.ops.aten

_DROPOUTS = {aten.dropout.default: 2, aten.feature_dropout.default: 2, aten.alpha_dropout.default: 2}
"""Dropout operations with the position of their ``train`` argument."""

_IDENTITIES = {
    *(aten.detach.default, aten.detach_.default, aten.alias.default),
    *(aten.lift_fresh_copy.default, aten.contiguous.default),
}
_CASTS = {aten.to.dtype, aten.to.dtype_layout, aten.to.device, aten.to.other, aten._to_copy.default}
_CHECK_PREFIXES = ("aten::_assert", "aten::sym_constrain_range")


def clean(
    graph: fx.Graph, values: Mapping[str, torch.Tensor], submodules: Mapping[str, torch.nn.Module]
) -> frozenset[str]:
    """Simplify ``graph`` in place and return the names of its free nodes (get_attr nodes left out).

    ``values`` are the real buffers and constants, by which masks of constant True are recognised;
    ``submodules`` hold the bodies of operations that wrap others in a context.
    """
    _inline_contexts(graph, submodules)
    for node in list(graph.nodes):
        if node.op == "call_function":
            _simplify(graph, node)
    graph.eliminate_dead_code()
    _drop_open_masks(graph, values)
    graph.eliminate_dead_code()
    _bring_picks_to_producers(graph)
    graph.lint()
    return frozenset(node.name for node in free_nodes(graph) if node.op != "get_attr")


def free_nodes(graph: fx.Graph) -> set[fx.Node]:
    """Nodes that depend on no placeholder and give the same value every time."""
    free: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "get_attr" or (
            node.op == "call_function" and not is_random(node) and all(n in free for n in node.all_input_nodes)
        ):
            free.add(node)
    return free


def evaluate(node: fx.Node, values: Mapping[str, torch.Tensor]) -> Any:
    """The value of a free node, computed from real buffers; None where it reads a parameter or a size that varies."""
    memo: dict[fx.Node, Any] = {}
    order = _ancestors(node)
    if any(n.target is item_size or (n.op == "get_attr" and str(n.target) not in values) for n in order):
        return None
    for current in order:
        if current.op == "get_attr":
            memo[current] = values[str(current.target)]
        else:
            args, kwargs = fx.map_arg((current.args, current.kwargs), lambda n: memo[n])
            assert callable(current.target)
            memo[current] = current.target(*args, **kwargs)
    return memo[node]


def _simplify(graph: fx.Graph, node: fx.Node) -> None:
    target = node.target
    if target in _DROPOUTS and not _argument(node, _DROPOUTS[target], "train"):
        _bypass(graph, node)
    elif target in _IDENTITIES or (target in _CASTS and _keeps_type(node)):
        if _same_layout(node):
            _bypass(graph, node)
    elif isinstance(target, torch._ops.OpOverload) and target._schema.name.startswith(_CHECK_PREFIXES):
        graph.erase_node(node)


def _argument(node: fx.Node, position: int, name: str) -> Any:
    return node.args[position] if len(node.args) > position else node.kwargs.get(name)


def _bypass(graph: fx.Graph, node: fx.Node) -> None:
    source = node.args[0]
    assert isinstance(source, fx.Node)
    node.replace_all_uses_with(source)
    graph.erase_node(node)


def _keeps_type(node: fx.Node) -> bool:
    before, after = node.args[0].meta.get("val"), node.meta.get("val")  # type: ignore[union-attr]
    return (
        isinstance(before, torch.Tensor)
        and isinstance(after, torch.Tensor)
        and (before.dtype, before.device) == (after.dtype, after.device)
    )


def _same_layout(node: fx.Node) -> bool:
    """True where skipping the operation leaves strides, and so later views, as they were."""
    source = node.args[0]
    if not isinstance(source, fx.Node):
        return False
    before, after = source.meta.get("val"), node.meta.get("val")
    if not (isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor)):
        return False
    return [expression(n) for n in before.stride()] == [expression(n) for n in after.stride()]


def _ancestors(node: fx.Node) -> list[fx.Node]:
    wanted: set[fx.Node] = set()
    stack = [node]
    while stack:
        current = stack.pop()
        if current not in wanted:
            wanted.add(current)
            stack.extend(current.all_input_nodes)
    return [n for n in node.graph.nodes if n in wanted]


# --- attention masks that hide nothing ------------------------------------------------------------------------


def _drop_open_masks(graph: fx.Graph, values: Mapping[str, torch.Tensor]) -> None:
    """Drop a constant attention mask that is all True (or all zero, added): same result, faster kernels."""
    free = free_nodes(graph)
    open_by_mask: dict[fx.Node, bool] = {}
    for node in graph.nodes:
        mask = mask_of(node)
        if not isinstance(mask, fx.Node) or mask not in free:
            continue
        if mask not in open_by_mask:
            open_by_mask[mask] = hides_nothing(evaluate(mask, values))
        if open_by_mask[mask]:
            drop_mask(node)


def mask_of(node: fx.Node) -> Any:
    """The mask of an attention; None where it has none."""
    is_attention = node.target is aten.scaled_dot_product_attention.default
    return _argument(node, 3, "attn_mask") if is_attention else None


def drop_mask(node: fx.Node) -> None:
    """Remove an attention's mask."""
    _set_argument(node, 3, "attn_mask", None)


def hides_nothing(mask: object) -> bool:
    """True for a mask that is all True, or all zero where it is added."""
    if not isinstance(mask, torch.Tensor):
        return False
    return bool(mask.all()) if mask.dtype == torch.bool else not bool(mask.any())


def _set_argument(node: fx.Node, position: int, name: str, value: Any) -> None:
    if len(node.args) > position:
        node.update_arg(position, value)
    else:
        node.update_kwarg(name, value)


# --- structure ---------------------------------------------------------------------------------------------


def _bring_picks_to_producers(graph: fx.Graph) -> None:
    """Move each choice out of a tuple to just after its producer, so that no cut falls between them."""
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target is operator.getitem:
            producer = node.args[0]
            assert isinstance(producer, fx.Node)
            after = producer
            while after.next.target is operator.getitem and after.next.args[0] is producer and after.next is not node:
                after = after.next
            if after.next is not node:
                after.append(node)


def _inline_contexts(graph: fx.Graph, submodules: Mapping[str, torch.nn.Module]) -> None:
    """Replace calls wrapped in a grad-mode or autocast context by the wrapped operations themselves."""
    positions: dict[Callable[..., Any], int] = {
        torch.ops.higher_order.wrap_with_set_grad_enabled: 1,
        torch.ops.higher_order.wrap_with_autocast: 4,
    }
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target not in positions:
            continue
        position = positions[node.target]
        holder = node.args[position]
        assert isinstance(holder, fx.Node)
        body = submodules[str(holder.target)]
        assert isinstance(body, fx.GraphModule)
        _inline(graph, node, body.graph, node.args[position + 1 :])


def _inline(graph: fx.Graph, call: fx.Node, body: fx.Graph, arguments: tuple[Any, ...]) -> None:
    inner = [node for node in body.nodes if node.op == "placeholder"]
    copies: dict[fx.Node, Any] = dict(zip(inner, arguments, strict=True))
    with graph.inserting_before(call):
        results = graph.graph_copy(body, copies)
    assert isinstance(results, tuple | list)
    for user in list(call.users):
        assert user.target is operator.getitem
        user.replace_all_uses_with(results[user.args[1]])  # type: ignore[index]
        graph.erase_node(user)
    graph.erase_node(call)
