"""Proved lower bounds on the objective: no plan for the same request does better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_flow

from partkit.planners.problem.problem import Problem

_TICKS = 1e9
"""All capacities of a network together: flows are sums of them and must stay below 2^31."""
_ENDLESS_TICKS = int(1.01 * _TICKS)
"""More than everything that may be cut."""
_NUM_HEAVIEST = 3
"""Blocks whose surroundings are looked at: one flow each."""


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
    heaviest = np.argsort(problem.blocks.time_s)[-_NUM_HEAVIEST:].tolist()
    return LowerBound(max(surroundings_s(problem, heaviest)), "heaviest node with the cheapest cut around it")


def surroundings_s(problem: Problem, of_blocks: Sequence[int]) -> list[float]:
    """For each of the blocks the least seconds of any stage that holds it, compute and traffic together.

    Choosing the other blocks of the stage is project selection, solved by a minimum cut: Picard, "Maximal closure of a
    graph and applications to combinatorial problems" (Management Science 1976). The stage is the block's side of the
    cut, and what is cut is paid for. For a value that block p makes and blocks c and d read:

                         time of p
                  +----------------------> END        p is in the stage: its time is spent
                  |
        reading --transfer--> p --transfer--> sent    c or d is in, p is not: the value is received
           ^ ^                                | |     p is in, c or d is not: the value is sent
           c d                                c d

    Arrows without a price are never cut: who is before them draws in who is behind. One maximum flow a block.
    """
    blocks = problem.blocks
    network, end = _Network(blocks.num_blocks + 1), blocks.num_blocks
    for block, seconds in enumerate((blocks.time_s / problem.fastest_speeds[0]).tolist()):
        network.add(block, end, seconds)
    for value, readers in blocks.readers.items():
        transfer_s = problem.best_link.transfer_s(float(blocks.graph.output_bytes[value]))
        maker, sent, reading = int(blocks.block_of[value]), network.add_vertex(), network.add_vertex()
        network.add(maker, sent, transfer_s)
        network.add(reading, maker, transfer_s)
        for reader in readers:
            network.add(sent, reader, None)
            network.add(reader, reading, None)
    return network.least_cuts_s(of_blocks, end)


class _Network:
    """Vertices and arrows with what cutting each costs; None: it is never cut."""

    def __init__(self, num_vertices: int) -> None:
        self._num_vertices = num_vertices
        self._arrows: list[tuple[int, int]] = []
        self._seconds: list[float | None] = []

    def add_vertex(self) -> int:
        """A new vertex."""
        self._num_vertices += 1
        return self._num_vertices - 1

    def add(self, source: int, target: int, seconds: float | None) -> None:
        """An arrow."""
        self._arrows.append((source, target))
        self._seconds.append(seconds)

    def least_cuts_s(self, sources: Sequence[int], target: int) -> list[float]:
        """Seconds of the cheapest cut between each source and the target, rounded down to ticks.

        scipy's flow takes whole numbers of 32 bits, so seconds become ticks. An arrow from the source right to the
        target is in every cut: it is counted exactly.
        """
        total_s = sum(filter(None, self._seconds))
        if total_s <= 0:
            return [0.0 for _ in sources]
        ticks_by_s = _TICKS / total_s
        ticks = [_ENDLESS_TICKS if seconds is None else int(seconds * ticks_by_s) for seconds in self._seconds]
        rows, columns = np.array(self._arrows).T
        size = (self._num_vertices, self._num_vertices)
        network = csr_matrix((np.array(ticks, dtype=np.int32), (rows, columns)), shape=size)
        direct = {
            arrow[0]: (seconds or 0.0, tick)
            for arrow, seconds, tick in zip(self._arrows, self._seconds, ticks, strict=True)
            if arrow[1] == target
        }
        cuts_s = []
        for source in sources:
            direct_s, direct_ticks = direct.get(source, (0.0, 0))
            rest = maximum_flow(network, source, target).flow_value - direct_ticks
            cuts_s.append(direct_s + float(rest / ticks_by_s))
        return cuts_s


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
