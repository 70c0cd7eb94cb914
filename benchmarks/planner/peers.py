"""Other planners, called through their own packages; each returns a device for every placed node, in order."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.fx import Graph as FxGraph
from torch.fx import GraphModule
from torch.fx.experimental.accelerator_partitioner import Partitioner
from torch.fx.experimental.partitioner_utils import Device, NodeLatency, PartitionerConfig, PartitionMode
from torch.fx.passes.shape_prop import TensorMetadata

from partkit.planners.costs.graph import Graph

Owner = Sequence[int]

LIMIT_S = 3
"""Seconds after which fx's partitioner is stopped."""


class PeerError(Exception):
    """The peer gave no plan; says why."""


def deepspeed(graph: Graph, num_devices: int) -> Owner:
    """``partition_balanced`` of node times (the objective it has: maximum less minimum)."""
    logging.disable(logging.WARNING)
    from deepspeed.runtime.utils import partition_balanced

    parts = partition_balanced(graph.time_s.tolist(), num_devices)
    return (np.searchsorted(parts, np.arange(graph.num_nodes), side="right") - 1).tolist()


def accelerate(graph: Graph, num_devices: int) -> Owner:
    """``infer_auto_device_map`` with ``get_balanced_memory`` over modules that hold each node's parameters."""
    from accelerate import infer_auto_device_map
    from accelerate.utils import get_balanced_memory

    layers = [torch.nn.Module() for _ in range(graph.num_nodes)]
    sizes = _param_bytes(graph)
    for layer, size in zip(layers, sizes, strict=True):
        if size:
            layer.weight = torch.nn.Parameter(torch.empty(size, dtype=torch.uint8, device="meta"), requires_grad=False)
    model = torch.nn.Sequential(*layers)
    memory = get_balanced_memory(model, max_memory=dict.fromkeys(range(num_devices), sum(sizes) + 1))
    device_map = infer_auto_device_map(model, max_memory=memory, clean_result=False)
    owner, current = [], 0
    for index in range(graph.num_nodes):
        found = device_map.get(str(index), device_map.get(f"{index}.weight", device_map.get("", current)))
        if not isinstance(found, int):
            raise PeerError(f"node {index} is put on {found!r}")
        current = found
        owner.append(found)
    return owner


def fx_size_based(graph: Graph, num_devices: int) -> Owner:
    """``accelerator_partitioner`` by size."""
    return _fx(graph, num_devices, PartitionMode.size_based)


def fx_cost_aware(graph: Graph, num_devices: int) -> Owner:
    """``accelerator_partitioner`` by cost; it lowers latency by trying all pairs of partitions."""
    return _fx(graph, num_devices, PartitionMode.cost_aware)


def _fx(graph: Graph, num_devices: int, mode: PartitionMode) -> Owner:
    module, nodes = _fx_module(graph)
    sizes = np.array(_param_bytes(graph)) + np.maximum(graph.output_bytes // 4, 1) * 4
    memory = int(sizes.sum() / num_devices * 1.1 + sizes.max() + 1)
    devices = [Device(f"d{index}", memory, index) for index in range(num_devices)]
    latency = {node: NodeLatency(0.0, float(seconds)) for node, seconds in zip(nodes, graph.time_s, strict=True)}
    partitioner = Partitioner()
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(LIMIT_S)
    try:
        partitioner.partition_graph(module, module, PartitionerConfig(devices, mode, 3e9, latency))
    except (RuntimeError, AssertionError, KeyError, AttributeError) as error:
        raise PeerError(f"{type(error).__name__}: {str(error)[:60]}") from None
    finally:
        signal.alarm(0)
    owner_by_node = {
        node: partition.logical_device_ids[0] for partition in partitioner.partitions for node in partition.nodes
    }
    owner: list[int] = []
    for node in nodes:
        owner.append(owner_by_node.get(node, owner[-1] if owner else 0))
    return owner


def _give_up(_signal: int, _frame: object) -> None:
    raise PeerError(f"over {LIMIT_S} s")


def _fx_module(graph: Graph) -> tuple[GraphModule, list[torch.fx.Node]]:
    """An fx module with one leaf call for each node, with sizes as the partitioner reads them."""
    root = torch.nn.Module()
    fx_graph = FxGraph()
    entry = fx_graph.placeholder("entry")
    entry.meta["tensor_meta"] = _meta(1)
    reads: list[list[int]] = [[] for _ in range(graph.num_nodes)]
    for source, target in zip(graph.use_source.tolist(), graph.use_target.tolist(), strict=True):
        reads[target].append(source)
    nodes: list[torch.fx.Node] = []
    for index, size in enumerate(_param_bytes(graph)):
        layer = torch.nn.Module()
        layer.weight = torch.nn.Parameter(torch.empty(size // 4, device="meta"), requires_grad=False)
        root.add_module(f"op{index}", layer)
        arguments = tuple(nodes[source] for source in reads[index]) or (entry,)
        node = fx_graph.call_module(f"op{index}", arguments)
        node.meta["tensor_meta"] = _meta(int(max(graph.output_bytes[index] // 4, 1)))
        nodes.append(node)
    fx_graph.output(nodes[-1])
    return GraphModule(root, fx_graph), nodes


def _meta(count: int) -> TensorMetadata:
    return TensorMetadata(torch.Size([count]), torch.float32, False, (1,), None, False, {})


def _param_bytes(graph: Graph) -> list[int]:
    """Bytes of each node's parameters, shared ones at their first user."""
    first = np.full(len(graph.holding_bytes), graph.num_nodes)
    np.minimum.at(first, graph.held_holding, graph.held_node)
    return (
        np.bincount(first, weights=graph.holding_bytes, minlength=graph.num_nodes)[: graph.num_nodes]
        .astype(int)
        .tolist()
    )


PEERS: dict[str, Callable[[Graph, int], Owner]] = {
    "deepspeed": deepspeed,
    "accelerate": accelerate,
    "fx size": fx_size_based,
    "fx cost": fx_cost_aware,
}
