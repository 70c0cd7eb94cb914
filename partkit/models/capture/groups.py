"""Which nodes of a captured graph no cut may part."""

from __future__ import annotations

import torch
from networkx.utils import UnionFind

from partkit.models.capture.captured import Capture, has_known_shape, is_pick, views_up_to_storage


def node_groups(captured: Capture) -> dict[str, str]:
    """Nodes that no cut may part: a tuple's producer and what picks from it, and a value of which the size or the
    whole is known only once the model runs (a plain number, rows chosen by a mask) and its users, and a window on
    memory and the views that it looks through.
    """
    together = UnionFind()
    placed = [node for node in captured.graph.nodes if node.name not in captured.free]
    for node in placed:
        if is_pick(node):
            together.union(node.all_input_nodes[0].name, node.name)
        if node.op == "call_function" and not has_known_shape(node):
            together.union(node.name, *(user.name for user in node.users))
        if node.target is torch.ops.aten.as_strided.default:
            for base in views_up_to_storage(node):
                together.union(node.name, base.name)
    label_by_root: dict[str, str] = {}
    groups: dict[str, str] = {}
    for node in placed:
        if node.name in together.parents:
            groups[node.name] = label_by_root.setdefault(together[node.name], f"with {node.name}")
    return groups
