"""A captured graph and times by node -> a Profile."""

from __future__ import annotations

from collections.abc import Mapping

from torch import fx

from partkit.data.profile import INPUT_OP, OUTPUT_OP, Calibration, Node, Profile, ProfiledDevice
from partkit.models.capture import (
    Capture,
    is_repeatable,
    module_path,
    operation_name,
    value_bytes,
    view_base,
)
from partkit.models.capture.groups import node_groups


def assemble(
    captured: Capture,
    time_s_by_node: Mapping[str, float],
    *,
    device: ProfiledDevice,
    method: str,
    scale: float = 1.0,
    workspace_bytes: int = 0,
    provenance: Mapping[str, object] | None = None,
) -> Profile:
    """Make the profile of a captured graph; nodes without a time (inputs, free nodes, views folded away) get 0."""
    groups = node_groups(captured)
    nodes = [
        _node(captured, node, time_s_by_node.get(node.name, 0.0), groups.get(node.name))
        for node in captured.graph.nodes
        if node.op != "get_attr"
    ]
    edges = [
        (source.name, node.name)
        for node in captured.graph.nodes
        for source in node.all_input_nodes
        if source.op != "get_attr"
    ]
    return Profile(
        model=captured.spec,
        device=device,
        method=method,
        nodes=tuple(nodes),
        edges=tuple(edges),
        parameters={name: info.num_bytes for name, info in captured.tensors.items()},
        calibration=Calibration(scale=scale, workspace_bytes=workspace_bytes),
        provenance=dict(provenance or {}),
    )


def _node(captured: Capture, node: fx.Node, time_s: float, group: str | None) -> Node:
    names = [str(source.target) for source in node.all_input_nodes if source.op == "get_attr"]
    tensors = {name: captured.tensors[name] for name in names if name in captured.tensors}
    is_free = node.name in captured.free
    base = view_base(node)
    return Node(
        name=node.name,
        module=module_path(node),
        op={"placeholder": INPUT_OP, "output": OUTPUT_OP}.get(node.op, operation_name(node)),
        time_s=0.0 if is_free else time_s,
        parameters=tuple(tensors),
        param_bytes=sum(info.num_bytes for info in tensors.values() if info.is_parameter),
        buffer_bytes=sum(info.num_bytes for info in tensors.values() if not info.is_parameter),
        output_bytes=0 if node.op == "output" else value_bytes(node),
        free=is_free,
        repeatable=group is None and not is_free and not names and is_repeatable(node),
        view_of=None if is_free or base is None or base.op == "get_attr" else base.name,
        group=group,
    )
