"""Proved lower bounds on the objective: no plan for the same request does better."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx

from partkit.planners.problem import Problem


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
    return max((total_work(problem), heaviest_block(problem)), key=lambda bound: bound.value)


def total_work(problem: Problem) -> LowerBound:
    """All compute spread without loss over the devices that a plan may use (and over the host's cores)."""
    total_s = float(problem.graph.time_s.sum())
    count = len(problem.cluster.devices) if problem.request.replicate else problem.max_stages
    bound_s = total_s / sum(problem.fastest_speeds[:count])
    cores = problem.cluster.shared_cores
    if cores is not None:
        bound_s = max(bound_s, total_s / problem.fastest_speeds[0] / cores)
    return LowerBound(bound_s, "total work over devices")


def heaviest_block(problem: Problem) -> LowerBound:
    """The slowest set of nodes that must stay together, on the fastest device (or on all of them in turn)."""
    time_s = float(problem.all_blocks.time_s.max())
    speed = sum(problem.fastest_speeds) if problem.request.replicate else problem.fastest_speeds[0]
    return LowerBound(time_s / speed, "heaviest node")


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
