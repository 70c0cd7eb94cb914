"""Presolve: a graph's nodes fused into blocks that no plan need cut, which form a DAG of their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np

from partkit.planners.costs.graph import FloatArray, Graph, IntArray, sum_by
from partkit.planners.problem.pins import NO_PIN, block_pins, check_pin_order, node_pins
from partkit.planners.problem.request import PlanRequest
from partkit.planners.problem.ties import find_ties


@dataclass(frozen=True, eq=False)
class Blocks:
    """Sets of nodes that stay together, numbered in topological order of the DAG they form."""

    graph: Graph
    block_of: IntArray
    """Block of each node."""
    time_s: FloatArray
    pin: IntArray
    """Stage that each block is pinned to, or ``NO_PIN``."""
    has_input: bool
    """Block 0 holds the model's inputs, which go to the first stage."""

    @property
    def num_blocks(self) -> int:
        """Number of blocks."""
        return len(self.time_s)

    @cached_property
    def edges(self) -> IntArray:
        """Uses between different blocks, not repeated: rows (source, target)."""
        ends = np.stack([self.block_of[self.graph.use_source], self.block_of[self.graph.use_target]], axis=1)
        return np.unique(ends[ends[:, 0] != ends[:, 1]], axis=0)

    @cached_property
    def predecessors(self) -> list[list[int]]:
        """Blocks that each block uses."""
        return self._neighbours(1, 0)

    @cached_property
    def predecessor_masks(self) -> list[int]:
        """``predecessors`` as bit masks."""
        return [sum(1 << source for source in sources) for sources in self.predecessors]

    @cached_property
    def successors(self) -> list[list[int]]:
        """Blocks that use each block."""
        return self._neighbours(0, 1)

    @cached_property
    def readers(self) -> dict[int, list[int]]:
        """For each value that leaves its block, the other blocks that use it."""
        makers, readers = self.block_of[self.graph.use_source], self.block_of[self.graph.use_target]
        across = makers != readers
        found: dict[int, list[int]] = {}
        for value, reader in np.unique(
            np.stack([self.graph.use_source[across], readers[across]], axis=1), axis=0
        ).tolist():
            found.setdefault(value, []).append(reader)
        return found

    @cached_property
    def extreme_work(self) -> tuple[FloatArray, FloatArray]:
        """For each block the most work of a downset without it, and the least of one with it. O(blocks^2)."""
        reaches = np.eye(self.num_blocks, dtype=bool)
        for block in range(self.num_blocks - 1, -1, -1):
            for target in self.successors[block]:
                reaches[block] |= reaches[target]
        after_s = np.array([self.time_s[row].sum() for row in reaches])
        before_s = np.array([self.time_s[row].sum() for row in reaches.T])
        return float(self.time_s.sum()) - after_s, before_s

    @property
    def is_chain(self) -> bool:
        """True when there is only one topological order: each block is used by the next."""
        steps = self.edges[self.edges[:, 1] - self.edges[:, 0] == 1]
        return len(steps) == self.num_blocks - 1

    def _neighbours(self, end: int, other: int) -> list[list[int]]:
        neighbours: list[list[int]] = [[] for _ in range(self.num_blocks)]
        for edge in self.edges.tolist():
            neighbours[edge[end]].append(edge[other])
        return neighbours


def make_blocks(graph: Graph, request: PlanRequest, *, fuse_idle: bool) -> Blocks:
    """Fuse what must stay together, then what loses nothing by staying together.

    Fused are tied nodes (:func:`find_ties`) and whatever lies on a cycle between them. With ``fuse_idle`` also
    nodes of no time beside the only neighbour that they need: no plan loses time by it where all links are alike,
    but its peak memory may be larger by a value, or by what such a node holds. Raises :class:`InfeasibleError` where
    pins contradict each other or the graph's order. O(nodes + uses).
    """
    pin_of_node = node_pins(graph, request.pins)
    labels = _fuse_cycles(graph, _fuse_required(graph, request))
    if fuse_idle:
        labels = _fuse_idle_nodes(graph, labels, pin_of_node)
    block_of, num_blocks = _renumber(graph, labels)
    pin = block_pins(graph, block_of, num_blocks, pin_of_node)
    blocks = Blocks(
        graph=graph,
        block_of=block_of,
        time_s=sum_by(block_of, graph.time_s, num_blocks),
        pin=pin,
        has_input=bool(graph.is_input.any()),
    )
    check_pin_order(graph, block_of, pin, blocks.predecessors)
    return blocks


def _fuse_required(graph: Graph, request: PlanRequest) -> IntArray:
    ties = find_ties(graph, request.keep_together, request.granularity)
    return _components(graph.num_nodes, [pair for tie in ties for pair in itertools.pairwise(tie.nodes)])


def _components(size: int, pairs: Iterable[tuple[int, int]]) -> IntArray:
    joined: nx.Graph = nx.Graph()
    joined.add_nodes_from(range(size))
    joined.add_edges_from(pairs)
    labels = np.arange(size)
    for component in nx.connected_components(joined):
        if len(component) > 1:
            labels[list(component)] = min(component)
    return labels


def _quotient(graph: Graph, labels: IntArray) -> nx.DiGraph:
    quotient = nx.DiGraph()
    quotient.add_nodes_from(np.unique(labels).tolist())
    source, target = labels[graph.use_source], labels[graph.use_target]
    across = source != target
    quotient.add_edges_from(zip(source[across].tolist(), target[across].tolist(), strict=True))
    return quotient


def _fuse_cycles(graph: Graph, labels: IntArray) -> IntArray:
    """Blocks on a cycle become one: any stage order would break the cycle there."""
    if np.array_equal(labels, np.arange(len(labels))):
        return labels
    target = {}
    for component in nx.strongly_connected_components(_quotient(graph, labels)):
        smallest = min(component)
        target.update(dict.fromkeys(component, smallest))
    return np.array([target[label] for label in labels.tolist()], dtype=np.int64)


def _fuse_idle_nodes(graph: Graph, labels: IntArray, pins: IntArray) -> IntArray:
    """Give nodes that take no time to a neighbour, where no plan loses by it (but memory, if they hold parameters).

    A node with one producer and at most one consumer costs least beside the producer when its value is no
    larger and nothing else reads what it reads; beside the consumer when its value is no smaller. A source
    with one consumer belongs to it. No move makes a cycle: the node has only one edge on that side.
    """
    producers: list[list[int]] = [[] for _ in range(graph.num_nodes)]
    consumers: list[list[int]] = [[] for _ in range(graph.num_nodes)]
    for source, target in zip(graph.use_source.tolist(), graph.use_target.tolist(), strict=True):
        producers[target].append(source)
        consumers[source].append(target)
    alone = np.bincount(labels, minlength=graph.num_nodes)[labels] == 1
    idle = alone & (graph.time_s == 0) & (pins == NO_PIN) & ~graph.is_input
    size = graph.output_bytes
    pairs = []
    for index in np.flatnonzero(idle).tolist():
        reads, used_by = producers[index], consumers[index]
        if len(reads) > 1 or len(used_by) > 1 or not (reads or used_by):
            continue
        if reads and (not used_by or (size[index] <= size[reads[0]] and len(consumers[reads[0]]) == 1)):
            pairs.append((index, reads[0]))
        elif used_by and (not reads or size[reads[0]] <= size[index]):
            pairs.append((index, used_by[0]))
    if not pairs:
        return labels
    merged = _components(graph.num_nodes, [*pairs, *enumerate(labels.tolist())])
    return _fuse_cycles(graph, merged)


def _renumber(graph: Graph, labels: IntArray) -> tuple[IntArray, int]:
    """Number blocks in a topological order that keeps the graph's own order; inputs first."""
    quotient = _quotient(graph, labels)
    input_label = int(labels[np.argmax(graph.is_input)]) if graph.is_input.any() else -1
    last = {int(label): index for index, label in enumerate(labels.tolist())}
    order = nx.lexicographical_topological_sort(quotient, key=lambda label: (label != input_label, last[label]))
    number = {label: index for index, label in enumerate(order)}
    if input_label >= 0 and number[input_label] != 0:
        return _renumber(graph, _with_ancestors(quotient, labels, input_label))
    return np.array([number[label] for label in labels.tolist()], dtype=np.int64), len(number)


def _with_ancestors(quotient: nx.DiGraph, labels: IntArray, label: int) -> IntArray:
    """The block of inputs with everything it depends on: all of that is in the first stage anyway."""
    together = nx.ancestors(quotient, label) | {label}
    return np.where(np.isin(labels, list(together)), label, labels)
