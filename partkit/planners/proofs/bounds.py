"""Proved lower bounds on the objective: no plan for the same request does better."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_flow

from partkit.planners.problem.problem import Problem


@dataclass(frozen=True)
class LowerBound:
    """A value that no plan goes below, and what proved it."""

    value: float
    proved_by: str


def simple_bound(problem: Problem) -> LowerBound:
    """The best bound that needs no search, for the request's objective."""
    if problem.request.objective == "latency":
        return LowerBound(critical_path_s(problem), "critical path on the fastest device")
    if problem.request.objective == "memory":
        return _memory_bound(problem)
    bounds = [total_work(problem), heaviest_block(problem)]
    if not problem.cluster.overlap and problem.max_replicas == 1 and problem.max_stages > 1:
        bounds.append(cheapest_surroundings(problem))
    return max(bounds, key=lambda bound: bound.value)


def bound_with_recomputing(problem: Problem) -> LowerBound:
    """The best bound that also holds for plans that compute nodes twice rather than send them."""
    if problem.request.objective == "throughput":
        return max(total_work(problem), heaviest_block(problem), key=lambda bound: bound.value)
    return simple_bound(problem)  # the others count no traffic


def total_work(problem: Problem) -> LowerBound:
    """All compute spread without loss over the devices that a plan may use (and over the host's cores)."""
    total_s = float(problem.graph.time_s.sum())
    bound_s = total_s / sum(problem.fastest_speeds[: problem.num_usable_devices])
    cores = problem.cluster.shared_cores
    if cores is not None:
        bound_s = max(bound_s, total_s / problem.fastest_speeds[0] / cores)
    return LowerBound(bound_s, "total work over devices")


def heaviest_block(problem: Problem) -> LowerBound:
    """The slowest set of nodes that must stay together, on the fastest device (or on all of them in turn)."""
    time_s = float(problem.all_blocks.time_s.max())
    speed = sum(problem.fastest_speeds[: problem.max_replicas])
    return LowerBound(time_s / speed, "heaviest node")


def cheapest_surroundings(problem: Problem) -> LowerBound:
    """The heaviest blocks, each with the cheapest stage around it: a minimum cut.

    Where traffic is not overlapped, a stage S with block b costs at least time(b) + the least, over all S,
    of the other blocks' time in S and one transfer of each value that enters or leaves S.
    """
    values = [surroundings_s(problem, int(block)) for block in np.argsort(problem.blocks.time_s)[-3:]]
    return LowerBound(max(values), "heaviest node with the cheapest cut around it")


def surroundings_s(problem: Problem, block: int) -> float:
    """Least seconds of any stage that holds ``block``, compute and traffic together. One maximum flow.

    The block is the source; leaving another block in the source's part costs its time (an edge to the
    sink). A value has two nodes: one is drawn in by its producer and costs a transfer unless all consumers
    are in; the other is drawn in by a consumer and costs a transfer unless the producer is in.
    """
    blocks, link = problem.blocks, problem.best_link
    made, used = blocks.block_of[blocks.graph.use_source], blocks.block_of[blocks.graph.use_target]
    across = made != used
    pairs = np.unique(blocks.graph.use_source[across] * blocks.num_blocks + used[across])
    value, row = np.unique(pairs // blocks.num_blocks, return_inverse=True)
    used = pairs % blocks.num_blocks
    sink, sending = blocks.num_blocks, blocks.num_blocks + 1 + row
    receiving = sending + len(value)
    producer = blocks.block_of[value]
    transfer_s = link.latency_s + blocks.graph.output_bytes[value] / link.bytes_per_s
    others = np.flatnonzero((np.arange(blocks.num_blocks) != block) & (blocks.time_s > 0))
    other_s = blocks.time_s[others] / problem.fastest_speeds[0]
    own_s = float(blocks.time_s[block]) / problem.fastest_speeds[0]
    total_s = float(other_s.sum() + 2 * transfer_s.sum())
    if total_s <= 0:
        return own_s
    scale = 1e9 / total_s
    capacity, transfer = np.floor(other_s * scale), np.floor(transfer_s * scale)
    endless = np.full(len(row), 1.01e9)
    first = blocks.num_blocks + 1 + np.arange(len(value))
    source = np.r_[others, producer, sending, used, first + len(value)]
    target = np.r_[np.full(len(others), sink), first, used, receiving, producer]
    weight = np.r_[capacity, transfer, endless, endless, transfer].astype(np.int32)
    size = blocks.num_blocks + 1 + 2 * len(value)
    network = csr_matrix((weight, (source, target)), shape=(size, size))
    around: float = maximum_flow(network, block, sink).flow_value / scale
    return own_s + around


def critical_path_s(problem: Problem) -> float:
    """Seconds of the longest path through the graph at the fastest speed, nothing being sent."""
    graph = problem.graph.digraph()
    done_s = problem.graph.time_s.copy()
    for node in nx.topological_sort(graph):
        done_s[node] += max((done_s[before] for before in graph.predecessors(node)), default=0.0)
    return float(done_s.max()) / problem.fastest_speeds[0]


def _memory_bound(problem: Problem) -> LowerBound:
    """Parameters spread without loss over the devices, or the largest single node's."""
    graph = problem.graph
    spread = float(graph.holding_bytes.sum()) / problem.max_stages
    held = [0.0] * graph.num_nodes
    for holding, node in zip(graph.held_holding.tolist(), graph.held_node.tolist(), strict=True):
        held[node] += graph.holding_bytes[holding]
    largest = max(size + value for size, value in zip(held, graph.output_bytes.tolist(), strict=True))
    return LowerBound(max(spread, largest), "parameters over devices" if spread > largest else "largest node")
