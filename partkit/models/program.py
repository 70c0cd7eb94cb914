"""An exported program as a module on a device other than the one it was exported on."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import fx, nn

aten = torch.ops.aten

_RESHAPED = {aten.view.default, aten._unsafe_view.default, aten._reshape_alias.default, aten.view_copy.default}
"""Called with a tensor and its new shape, in which a dimension may be -1."""


def reshape_for_view(node: fx.Node) -> None:
    """Make a view, which relies on the memory order that its operand had when captured, a reshape, which does not."""
    if node.target in _RESHAPED:
        node.target, node.args = aten.reshape.default, node.args[:2]
    elif node.target is aten.view_as.default:
        node.target = aten.reshape_as.default


def on_device(device: torch.device, arguments: Any) -> Any:
    """The same arguments with every device named in them replaced: graphs are captured for the CPU."""
    return fx.node.map_aggregate(arguments, lambda leaf: device if isinstance(leaf, torch.device) else leaf)


def program_module(module: nn.Module) -> nn.Module:
    """The module of a program with tensors of its own, in place, which relies on no memory order."""
    _own_tensors(module)
    for part in module.modules():
        if isinstance(part, fx.GraphModule):
            for node in part.graph.nodes:
                reshape_for_view(node)
            part.recompile()
    return module


def move_program(module: nn.Module, device: torch.device) -> None:
    """Have what a program's module makes on its way be made on ``device``, in place."""
    for part in module.modules():
        if isinstance(part, fx.GraphModule):
            for node in part.graph.nodes:
                if node.op == "call_function":
                    node.args, node.kwargs = on_device(device, node.args), on_device(device, node.kwargs)
            part.recompile()


def _own_tensors(module: nn.Module) -> nn.Module:
    """Give the module copies of its tensors, in place, ties kept: a program's modules share the program's own."""
    copies: dict[int, torch.Tensor] = {}
    for owner in module.modules():
        slots: tuple[dict[str, Any], ...] = (owner._parameters, owner._buffers)
        for tensors in slots:
            for leaf, tensor in tensors.items():
                if tensor is not None:
                    tensors[leaf] = copies.setdefault(id(tensor), copy.deepcopy(tensor))
    return module.requires_grad_(False)
