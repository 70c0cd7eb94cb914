"""A stage's graph and its own tensors -> a callable on a device, with everything that no item changes computed once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from partkit.models.capture import Capture
from partkit.models.capture.clean import drop_mask, hides_nothing, mask_of
from partkit.models.capture.sizes import item_size
from partkit.models.program import on_device
from partkit.stages.cut import StageGraph
from partkit.stages.load_tensors import Read, load_tensors


def materialise(
    stage: StageGraph,
    captured: Capture,
    read: Read,
    device: torch.device,
    *,
    sizes: Mapping[str, int] | None = None,
) -> fx.GraphModule:
    """The stage as a callable GraphModule on ``device``, with only its own tensors.

    ``read`` gives a parameter or buffer by name on the CPU. Free nodes are computed here, once; a parameter
    that only they read is not kept. Where sizes vary the module is for ``sizes`` only, the largest by default.
    """
    folded = _fold(stage, captured, read, device, sizes or captured.spec.sizes)
    graph, values = fx.Graph(), dict[str, Any]()
    copies: dict[fx.Node, Any] = {}
    for node in stage.graph.nodes:
        if node in folded:
            continue
        for needed in node.all_input_nodes:
            if needed in folded and needed not in copies:
                copies[needed] = _held(graph, values, needed.name, folded[needed])
        mask = mask_of(node)
        copies[node] = graph.node_copy(node, lambda n: copies[n])
        if node.op == "call_function":
            copies[node].args = on_device(device, copies[node].args)
            copies[node].kwargs = on_device(device, copies[node].kwargs)
        if captured.symbols and mask in folded and hides_nothing(folded[mask]):
            drop_mask(copies[node])
    return fx.GraphModule(values, graph, class_name=f"Stage{stage.index}")


def _fold(
    stage: StageGraph,
    captured: Capture,
    read: Read,
    device: torch.device,
    sizes: Mapping[str, int],
) -> dict[fx.Node, Any]:
    """Values of the stage's free nodes, which no item changes (constant folding)."""
    folded: dict[fx.Node, Any] = {}
    targets = [str(node.target) for node in stage.graph.nodes if node.op == "get_attr"]
    tensors = load_tensors([name for name in targets if name not in captured.submodules], read, device)
    with torch.inference_mode():
        for node in stage.graph.nodes:
            if node.op == "get_attr" and str(node.target) in captured.submodules:
                folded[node] = captured.submodules[str(node.target)]
            elif node.op == "get_attr":
                folded[node] = tensors[str(node.target)]
            elif node.target is item_size:
                folded[node] = sizes[str(node.args[0])]
            elif node.name in stage.free:
                args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: folded[n])
                folded[node] = node.target(*on_device(device, args), **on_device(device, kwargs))
    return folded


def _held(graph: fx.Graph, values: dict[str, Any], name: str, value: Any) -> Any:
    """A constant as a stage's graph refers to it: a number by itself, anything else as an attribute."""
    if isinstance(value, (bool, int, float)):
        return value
    attribute = f"held_{len(values)}"
    values[attribute] = value
    return graph.create_node("get_attr", attribute, name=name)
