"""Live values of a graph, by hand."""

from __future__ import annotations

import torch
from torch import fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from partkit.profilers.memory import live_peak_bytes


class Views(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = x + 1  # 400 bytes
        v = a.view(10, 10).transpose(0, 1)  # in a's memory, which it keeps alive
        b = a * 2  # 400 more
        return (v.sum() + b.sum()).reshape(1)  # three times 4


def test_views_take_no_memory_and_keep_their_base_alive():
    graph = make_fx(Views(), tracing_mode="fake")(torch.ones(100)).graph
    assert live_peak_bytes(graph) == 400 + 400 + 4


def test_what_a_graph_gives_is_kept_to_its_end():
    graph = fx.Graph()
    x = graph.placeholder("x")
    first = graph.call_function(torch.ops.aten.relu.default, (x,))
    second = graph.call_function(torch.ops.aten.relu.default, (first,))
    for node in (x, first, second):
        node.meta["val"] = torch.empty(25)
    graph.output((first, second))
    assert live_peak_bytes(graph) == 200
