"""A graph that relies on no memory order.

A graph is captured on the CPU, and kernels of other devices give their results in memory orders of their own:
attention on CUDA does, and so may anything. What the author wrote to be safe from that (``contiguous``) has left no
trace where it had nothing to do at capture. So stages, which run on whatever device, take nothing for granted:

    view, _unsafe_view, view_as       -> reshape, which copies where a view cannot be
    view as another dtype, as_strided,
    operations with demands of their own     get their operands in the order that they had at capture

Operations that only one device has, into which a composite came apart when somebody else's program was decomposed,
become the composite again.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

from partkit.models.capture.captured import largest, views_up_to_storage
from partkit.models.program import reshape_for_view

aten = torch.ops.aten

_ORDERED = {
    aten.view.dtype,
    aten.view_copy.dtype,
    aten.view_as_complex.default,
    aten.view_as_complex_copy.default,
    aten.native_group_norm.default,
    aten.native_channel_shuffle.default,
    *(
        getattr(aten, name).default
        for name in ("_grouped_mm", "_int_mm", "_weight_int4pack_mm", "_weight_int8pack_mm", "_dyn_quant_matmul_4bit")
        if hasattr(aten, name)
    ),
}
"""Operations of torch's own that refuse, or misread, operands in some memory orders."""
_ORDER_TAGS = ("needs_exact_strides", "needs_fixed_stride_order", "needs_contiguous_strides")
_BUILT_IN = ("aten", "prims", "prim", "_operator", "inductor_prims")

_ATTENTIONS = {
    getattr(aten, name).default: parameters
    for name, parameters in {
        "_scaled_dot_product_flash_attention_for_cpu": ("dropout_p", "is_causal"),
        "_scaled_dot_product_flash_attention": ("dropout_p", "is_causal", "return_debug_mask"),
        "_scaled_dot_product_efficient_attention": ("attn_mask", "compute_log_sumexp", "dropout_p", "is_causal"),
        "_scaled_dot_product_cudnn_attention": (
            "attn_mask",
            "compute_log_sumexp",
            "dropout_p",
            "is_causal",
            "return_debug_mask",
        ),
    }.items()
    if hasattr(aten, name)
}
"""Attention kernels of one device each, with the names of what they take after query, key and value."""
_COMPOSITE_TAKES = ("attn_mask", "dropout_p", "is_causal", "scale")


def rely_on_no_order(graph: fx.Graph) -> list[fx.Node]:
    """Rewrite ``graph`` in place; returns the nodes that were put in, in order. Nodes keep their names."""
    added: list[fx.Node] = []
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        reshape_for_view(node)
        if node.target is aten.as_strided.default:
            added += _look_at_a_copy(graph, node)
        elif node.target in _ATTENTIONS:
            _make_composite(graph, node)
        elif _has_demands(node):
            for operand in node.all_input_nodes:
                added += _bring_in_order(graph, node, operand)
    return added


def _has_demands(node: fx.Node) -> bool:
    """Whether a node's operation may refuse or misread operands in another order than at capture."""
    if node.target in _ORDERED:
        return True
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    tags = {tag.name for tag in node.target.tags}
    return bool(tags.intersection(_ORDER_TAGS)) or (
        node.target.namespace not in _BUILT_IN and "flexible_layout" not in tags
    )


def _bring_in_order(graph: fx.Graph, user: fx.Node, operand: fx.Node) -> list[fx.Node]:
    """Let ``user`` read ``operand`` in the order in which it was captured; a placeholder comes in it anyway."""
    value = operand.meta.get("val")
    if operand.op == "placeholder" or not isinstance(value, torch.Tensor) or not _is_dense(value):
        return []
    with graph.inserting_before(user):
        ordered, added = _in_order(graph, operand, aten.contiguous.default)
    user.replace_input_with(operand, ordered)
    return added


def _look_at_a_copy(graph: fx.Graph, window: fx.Node) -> list[fx.Node]:
    """Let a window on memory look at a copy of what fills that memory, laid out from its beginning as at capture."""
    seen = window.args[0]
    assert isinstance(seen, fx.Node)
    views = views_up_to_storage(window)
    base = views[-1].all_input_nodes[0] if views else seen
    value = base.meta.get("val")
    if not isinstance(value, torch.Tensor) or not _is_dense(value):
        return []
    offset = window.args[3] if len(window.args) > 3 else window.kwargs.get("storage_offset")
    if offset is None:
        offset = seen.meta["val"].storage_offset()
    with graph.inserting_before(window):
        copy, added = _in_order(graph, base, aten.clone.default, memory_format=torch.contiguous_format)
    window.args, window.kwargs = (copy, *window.args[1:3], offset), {}
    return added


def _in_order(graph: fx.Graph, node: fx.Node, lay_out: Any, **options: Any) -> tuple[fx.Node, list[fx.Node]]:
    """``node``'s value with its dimensions in memory as at capture, and the nodes that bring it there."""
    value = node.meta["val"]
    order = sorted(range(value.dim()), key=lambda dim: -largest(value.stride(dim)))
    if order == list(range(value.dim())):
        laid_out = _call(graph, lay_out, node, **options)
        return laid_out, [laid_out]
    turned = _call(graph, aten.permute.default, node, order)
    laid_out = _call(graph, lay_out, turned, **options)
    back = _call(graph, aten.permute.default, laid_out, [order.index(dim) for dim in range(len(order))])
    return back, [turned, laid_out, back]


def _call(graph: fx.Graph, target: Any, operand: fx.Node, *args: Any, **kwargs: Any) -> fx.Node:
    node = graph.call_function(target, (operand, *args), kwargs)
    node.meta = {**operand.meta, "val": target(operand.meta["val"], *args, **kwargs)}
    return node


def _is_dense(value: torch.Tensor) -> bool:
    return bool(torch.ops.aten.is_non_overlapping_and_dense(value))


def _make_composite(graph: fx.Graph, node: fx.Node) -> None:
    """Replace one device's attention by the composite that chooses among them, where only its result is read."""
    picks = list(node.users)
    if any(pick.target is not operator.getitem or pick.args[1] != 0 for pick in picks if pick.users):
        return
    given = dict(zip(_ATTENTIONS[node.target], node.args[3:], strict=False)) | dict(node.kwargs)
    given["attn_mask"] = given.pop("attn_bias", given.get("attn_mask"))
    options = {name: given[name] for name in _COMPOSITE_TAKES if given.get(name) is not None}
    with graph.inserting_before(node):
        attention = graph.call_function(aten.scaled_dot_product_attention.default, node.args[:3], options)
    attention.meta = {**node.meta, "val": node.meta["val"][0]}
    for pick in picks:
        pick.replace_all_uses_with(attention)
        graph.erase_node(pick)
    graph.erase_node(node)
