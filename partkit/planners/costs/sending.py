"""What crosses between stages: for each reader the cheapest set of values, cheap ones being computed again there.

    stage 0:  mask (1x128) -> wide (1x1x128x128) -> ...        sends wide: 16384 elements
    stage 1:                                  wide -> ...

    stage 0:  mask (1x128) -> ...                              sends mask: 128 elements
    stage 1:  mask -> wide -> ...                              recomputes wide

For one reading stage that is a minimum cut: what it reads, and what that is made of, is either sent (the link's
time) or computed again (the node's time), and whatever is computed again needs its own operands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import networkx as nx
import numpy as np

from partkit.data.cluster import Cluster
from partkit.planners.costs.cost import Assignment, Costs, evaluate, stage_links, stage_peak_bytes, stage_speeds
from partkit.planners.costs.graph import Graph

RECOMPUTE_WEIGHT = 2.0
"""A second of computing again must save this many on the link: node times are the less certain of the two."""
_TICKS_BY_S = 1e12
"""Capacities are whole numbers: the flow algorithms add and subtract them."""

Copy = tuple[int, int]
"""A node that a stage computes again: (node, stage)."""


@dataclass(frozen=True, eq=False)
class Sending:
    """An assignment with what is computed again, as a graph of its own that any cost can be computed from.

    ``graph`` holds each recomputed node once more, on the stage that reads it, and no node that nobody uses any
    longer; ``assignment`` and ``costs`` are of that graph.
    """

    graph: Graph
    assignment: Assignment
    costs: Costs
    copies: tuple[Copy, ...] = ()
    """Recomputed nodes by their number in the original graph."""


@dataclass(frozen=True)
class Aim:
    """What a plan must be good at, and within."""

    objective: str = "throughput"
    num_slots: int = 2
    caps_bytes: tuple[float, ...] | None = None
    """Memory cap of each stage; None: no caps."""

    def rank(self, sending: Sending) -> tuple[float, ...] | None:
        """Sort key, smaller being better: the objective, then period, latency and traffic; None past a cap."""
        costs = sending.costs
        peaks = stage_peak_bytes(sending.graph, sending.assignment, costs.traffic, num_slots=self.num_slots)
        if self.caps_bytes is not None and np.any(peaks > np.array(self.caps_bytes)):
            return None
        traffic_s = float(costs.traffic.time_s.sum())
        if self.objective == "memory":
            return float(peaks.max()), costs.period_s, costs.latency_s, traffic_s
        if self.objective == "latency":
            return costs.latency_s, costs.period_s, traffic_s
        return costs.period_s, costs.latency_s, traffic_s


def cheapest_sending(graph: Graph, cluster: Cluster, assignment: Assignment, aim: Aim) -> Sending:
    """The assignment with what each stage should recompute rather than receive; never worse than sending all.

    Each reading stage is solved by a minimum cut of its own, and the answer is kept where the whole plan gains by
    it. O(stages x (nodes + uses)) and a small maximum flow for each stage.
    """
    best = Sending(graph, assignment, evaluate(graph, cluster, assignment))
    rank = aim.rank(best)
    for stage in range(assignment.num_stages):
        copies = cheapest_copies(graph, cluster, assignment, stage)
        if not copies:
            continue
        tried = with_copies(graph, cluster, assignment, (*best.copies, *((node, stage) for node in copies)))
        tried_rank = None if tried is None else aim.rank(tried)
        if tried is not None and tried_rank is not None and (rank is None or _is_better(tried_rank, rank)):
            best, rank = tried, tried_rank
    return best


def _is_better(rank: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether ``rank`` comes first, differences of the last bits aside."""
    for ours, theirs in zip(rank, other, strict=True):
        if abs(ours - theirs) > 1e-12 * max(abs(ours), abs(theirs)):
            return ours < theirs
    return False


# --- one reader: a minimum cut ------------------------------------------------------------------------------


def cheapest_copies(graph: Graph, cluster: Cluster, assignment: Assignment, stage: int) -> tuple[int, ...]:
    """The nodes that ``stage`` should recompute so that sending to it and recomputing cost least together.

    Each node v has two vertices. Cutting ``made v -> had v`` is sending v, cutting ``START -> made v`` is computing
    it again, which draws in what it is made of. A node that may not be recomputed, or lives on the stage, is never
    computed again. See Cytron & Ferrante, "What's in a name?" (ICPP 1987) for the minimum cut of a data flow.
    """
    send_s, again_s = _prices(graph, cluster, assignment, stage)
    read = graph.use_source[assignment.stage_of[graph.use_target] == stage]
    wanted = sorted({node for node in read.tolist() if assignment.stage_of[node] != stage})
    reached = _reach(graph, wanted, again_s, assignment.stage_of == stage)
    if not any(np.isfinite(again_s[node]) for node in wanted):
        return ()
    flow = nx.DiGraph()
    for node, operands in reached.items():
        flow.add_edge(("made", node), ("had", node), capacity=_ticks(send_s[node]))
        if np.isfinite(again_s[node]):
            flow.add_edge("START", ("made", node), capacity=_ticks(again_s[node] * RECOMPUTE_WEIGHT))
        else:
            flow.add_edge("START", ("made", node))
        for operand in operands:
            flow.add_edge(("had", operand), ("made", node))
    for node in wanted:
        flow.add_edge(("had", node), "END")
    _, (before, _) = nx.minimum_cut(flow, "START", "END")
    return tuple(node for node in reached if ("made", node) not in before)


def _prices(graph: Graph, cluster: Cluster, assignment: Assignment, stage: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of sending each node's value to ``stage`` and of computing it there (infinite where it may not be)."""
    latency_s, seconds_by_byte = stage_links(cluster, assignment)
    owner = assignment.stage_of
    send_s = latency_s[owner, stage] + graph.output_bytes * seconds_by_byte[owner, stage]
    again_s = graph.time_s / stage_speeds(cluster, assignment)[stage]
    may = np.array([node.repeatable for node in graph.nodes], dtype=bool)
    held_here = np.isin(graph.held_holding, graph.held_holding[owner[graph.held_node] == stage])
    may[graph.held_node[~held_here]] = False
    return send_s, np.where(may, again_s, np.inf)


def _reach(graph: Graph, wanted: Sequence[int], again_s: np.ndarray, is_here: np.ndarray) -> dict[int, list[int]]:
    """The wanted nodes and what they can be made of again, each with its operands from other stages."""
    reached: dict[int, list[int]] = {}
    waiting = list(wanted)
    while waiting:
        node = waiting.pop()
        if node in reached:
            continue
        made_of = graph.use_source[graph.operands_of(node)] if np.isfinite(again_s[node]) else np.array([], dtype=int)
        reached[node] = [operand for operand in made_of.tolist() if not is_here[operand]]
        waiting.extend(reached[node])
    return dict(sorted(reached.items()))


def _ticks(seconds: float) -> int:
    return round(seconds * _TICKS_BY_S)


# --- the graph with its copies ------------------------------------------------------------------------------


def with_copies(graph: Graph, cluster: Cluster, assignment: Assignment, copies: Iterable[Copy]) -> Sending | None:
    """The graph in which those nodes are computed once more on those stages; None where a stage is left with none.

    A stage reads its own copy where it has one. A node that only copies have replaced is computed nowhere else.

    Four numberings are in play. Say x, mask, wide and two readers; reader 4 on stage 1 makes wide anew and reader 3 is
    on stage 0:

        node      0 x      1 mask   2 wide   3 reader  4 reader            the graph's own
        copy                                                    (2, 1)     a node and the stage that computes it again
        expanded  0        1        2        3         4        5          nodes, then copies: ``number`` and ``origin``
        place     0        1        2        4         5        3          of the new graph: in order, none unused

    >>> from partkit.data.profile import Node, Profile
    >>> from partkit.planners.costs.graph import build_graph
    >>> from partkit.data.cluster import Device, Link
    >>> nodes = tuple(Node(name=name, time_s=1.0, repeatable=True) for name in ("x", "mask", "wide", "r0", "r1"))
    >>> edges = (("mask", "wide"), ("x", "r0"), ("wide", "r0"), ("r0", "r1"), ("wide", "r1"))
    >>> cluster = Cluster(devices=(Device(name="a"), Device(name="b")), link=Link(bytes_per_s=1.0))
    >>> placed = Assignment(np.array([0, 0, 0, 0, 1]), ((0,), (1,)))
    >>> sending = with_copies(build_graph(Profile(nodes=nodes, edges=edges)), cluster, placed, [(2, 1)])
    >>> [node.name for node in sending.graph.nodes], sending.assignment.stage_of.tolist()
    (['x', 'mask', 'wide', 'wide', 'r0', 'r1'], [0, 0, 0, 1, 0, 1])
    """
    copies = tuple(sorted(set(copies)))
    number = {copy: graph.num_nodes + index for index, copy in enumerate(copies)}  # copy -> expanded
    origin = np.r_[np.arange(graph.num_nodes), np.array([node for node, _ in copies], dtype=np.int64)]  # -> node
    stage_of = np.r_[assignment.stage_of, np.array([stage for _, stage in copies], dtype=np.int64)]
    uses = list(zip(graph.use_source.tolist(), graph.use_target.tolist(), strict=True))
    for copy in copies:
        operands = graph.use_source[graph.operands_of(copy[0])]
        uses += [(operand, number[copy]) for operand in operands.tolist()]
    uses = [(number.get((source, int(stage_of[target])), source), target) for source, target in uses]
    kept, uses = _without_unused(graph, copies, uses)
    if len(np.unique(stage_of[kept])) < assignment.num_stages:
        return None
    order = kept[np.lexsort((kept, origin[kept]))]  # a copy comes right after its original
    expanded = _renumbered(graph, origin, order, uses)
    placed = Assignment(stage_of[order], assignment.devices)
    return Sending(expanded, placed, evaluate(expanded, cluster, placed), copies)


def _without_unused(
    graph: Graph, copies: Sequence[Copy], uses: list[tuple[int, int]]
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """All but the originals whose every use has gone to copies, and the uses between those left (all expanded)."""
    gone: set[int] = set()
    for node in sorted({node for node, _ in copies}, reverse=True):
        if not any(source == node and target not in gone for source, target in uses):
            gone.add(node)
    kept = [node for node in range(graph.num_nodes + len(copies)) if node not in gone]
    return np.array(kept, dtype=np.int64), [use for use in uses if use[1] not in gone]


def _renumbered(graph: Graph, origin: np.ndarray, order: np.ndarray, uses: list[tuple[int, int]]) -> Graph:
    """The graph of the expanded nodes in ``order``, whose places are its node numbers."""
    place = np.full(len(origin), -1)  # expanded -> place
    place[order] = np.arange(len(order))
    pairs = np.array(sorted({(int(place[a]), int(place[b])) for a, b in uses}), dtype=np.int64).reshape(-1, 2)
    held = [
        (holding, int(place[node]))
        for node in order.tolist()
        for holding in graph.held_holding[graph.held_node == origin[node]].tolist()
    ]
    held_pairs = np.array(sorted(held), dtype=np.int64).reshape(-1, 2)
    view_of = np.full(len(order), -1)
    for (
        source,
        target,
    ) in uses:  # the base is that one of a node's operands, be it a copy, which its original looks into
        if graph.view_of[origin[target]] == origin[source] and place[target] >= 0:
            view_of[place[target]] = place[source]
    return replace(
        graph,
        nodes=tuple(graph.nodes[node] for node in origin[order].tolist()),
        time_s=graph.time_s[origin[order]],
        output_bytes=graph.output_bytes[origin[order]],
        use_source=pairs[:, 0],
        use_target=pairs[:, 1],
        held_holding=held_pairs[:, 0],
        held_node=held_pairs[:, 1],
        view_of=view_of,
    )
