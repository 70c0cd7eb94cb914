"""Memory that a graph takes on a GPU beside its weights and values: what the planner adds to each stage.

cuBLAS keeps a workspace for each stream (32 MB on Hopper), convolutions and reductions have temporaries of their own;
neither is a value of the graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import fx

from partkit.models.capture import value_bytes, view_base


def workspace_bytes(module: fx.GraphModule, inputs: Sequence[torch.Tensor]) -> int:
    """Bytes by which one call's peak exceeds that of its values, on the current CUDA device and stream.

    The workspaces of earlier calls are dropped before, so that a process's first call is what is measured.
    """
    device = inputs[0].device if inputs else torch.device("cuda", torch.cuda.current_device())
    with torch.inference_mode():
        torch.cuda.synchronize(device)
        torch._C._cuda_clearCublasWorkspaces()
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        module(*inputs)
        torch.cuda.synchronize(device)
        peak = torch.cuda.max_memory_allocated(device) - before
    return max(0, peak - live_peak_bytes(module.graph))


def live_peak_bytes(graph: fx.Graph) -> int:
    """The largest sum of values that are alive at once, inputs and held tensors left out.

    Values are dropped after their last use, as generated code does, and what the graph gives is kept to the end; a
    view lives in its base's memory.
    """
    nodes = list(graph.nodes)
    position = {node: index for index, node in enumerate(nodes)}
    last_use = {node: max((position[user] for user in node.users), default=position[node]) for node in nodes}
    for node in reversed(nodes):
        base = view_base(node)
        if base is not None:
            last_use[base] = max(last_use[base], last_use[node])
    ends: dict[int, int] = {}
    live = peak = 0
    for index, node in enumerate(nodes):
        if node.op == "call_function" and view_base(node) is None:
            size = value_bytes(node)
            live += size
            ends[last_use[node]] = ends.get(last_use[node], 0) + size
        peak = max(peak, live)
        live -= ends.pop(index, 0)
    return peak
