"""Presolve: a graph's nodes fused into blocks that no plan need cut, which form a DAG of their own."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np

from partkit.errors import InfeasibleError, UsageError
from partkit.graph import FloatArray, Graph, IntArray, sum_by
from partkit.planners.request import Granularity, PlanRequest

NO_PIN = -1


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

    Fused are: nodes of one group; nodes that one ``keep_together`` pattern matches; runs of nodes of one
    module or layer where the granularity forbids cuts there; the model's inputs; whatever lies on a cycle
    between groups. With ``fuse_idle`` also nodes of no time beside the only neighbour that they need: no
    plan loses time by it where all links are alike, but its peak memory may be a value larger. Raises
    :class:`InfeasibleError` where pins contradict each other or the graph's order. O(nodes + uses).
    """
    pin_of_node = _node_pins(graph, request)
    labels = _fuse_required(graph, request)
    labels = _fuse_cycles(graph, labels)
    if fuse_idle:
        labels = _fuse_idle_nodes(graph, labels, pin_of_node)
    block_of, num_blocks = _renumber(graph, labels)
    pin = _block_pins(graph, block_of, num_blocks, pin_of_node)
    blocks = Blocks(
        graph=graph,
        block_of=block_of,
        time_s=sum_by(block_of, graph.time_s, num_blocks),
        pin=pin,
        has_input=bool(graph.is_input.any()),
    )
    _check_pin_order(blocks)
    return blocks


def _node_pins(graph: Graph, request: PlanRequest) -> IntArray:
    pins = np.full(graph.num_nodes, NO_PIN, dtype=np.int64)
    origin: dict[int, str] = {}
    for pattern, stage in request.pins.items():
        matched = pinned_nodes(graph, pattern)
        if stage < 0 or (request.num_stages is not None and stage >= request.num_stages):
            last = "any" if request.num_stages is None else request.num_stages - 1
            raise InfeasibleError(
                f"pin {pattern}={stage} names stage {stage}, and the stages are 0 to {last}",
                hint="pin to a stage in that range or ask for more stages",
            )
        for index in matched:
            if index in origin and pins[index] != stage:
                raise InfeasibleError(
                    f"node {graph.nodes[index].name!r} is pinned to stage {pins[index]} by {origin[index]!r} "
                    f"and to stage {stage} by {pattern!r}",
                    hint="make the patterns disjoint",
                )
            pins[index], origin[index] = stage, pattern
    return pins


def pinned_nodes(graph: Graph, pattern: str) -> list[int]:
    """Nodes that a pin's pattern names."""
    return _matching(graph, pattern, option="--pin")


def _matching(graph: Graph, pattern: str, *, option: str) -> list[int]:
    """Nodes whose module path starts with a match that ends at a dot or the end, or whose name matches whole."""
    try:
        path, name = re.compile(rf"(?:{pattern})(?=\.|$)"), re.compile(pattern)
    except re.error as error:
        raise UsageError(f"{option} {pattern!r} is not a regular expression: {error}") from None
    matched = [
        index
        for index, node in enumerate(graph.nodes)
        if path.match(node.module) or name.fullmatch(node.name) or _matches_inside(path, node.module)
    ]
    if not matched:
        raise UsageError(
            f"{option} {pattern!r} matches no node", hint="give the start of a module path, as 'encoder.layer.0'"
        )
    return matched


def _matches_inside(path: re.Pattern[str], module: str) -> bool:
    """Whether the pattern matches at the start of some part of a dotted path, as encoder.layer.0 in bert.…"""
    return any(path.match(module, found.end()) for found in re.finditer(r"\.", module))


def _fuse_required(graph: Graph, request: PlanRequest) -> IntArray:
    pairs: list[tuple[int, int]] = []
    by_group: dict[str, list[int]] = {}
    for index, node in enumerate(graph.nodes):
        if node.group is not None:
            by_group.setdefault(node.group, []).append(index)
    together = [*by_group.values(), np.flatnonzero(graph.is_input).tolist()]
    together += [_matching(graph, pattern, option="--keep-together") for pattern in request.keep_together]
    for members in together:
        pairs += _links(members)
    pairs += _same_module_runs(graph, request.granularity)
    return _components(graph.num_nodes, pairs)


def _links(members: Sequence[int]) -> Iterable[tuple[int, int]]:
    return itertools.pairwise(members)


def _components(size: int, pairs: Iterable[tuple[int, int]]) -> IntArray:
    joined: nx.Graph = nx.Graph()
    joined.add_nodes_from(range(size))
    joined.add_edges_from(pairs)
    labels = np.arange(size)
    for component in nx.connected_components(joined):
        if len(component) > 1:
            labels[list(component)] = min(component)
    return labels


def _same_module_runs(graph: Graph, granularity: Granularity) -> list[tuple[int, int]]:
    """Neighbours in order that belong to one call of one module (or of one numbered layer)."""
    if granularity == "op":
        return []
    keys = [node.module if granularity == "module" else layer_path(node.module) for node in graph.nodes]
    return [(i, i + 1) for i in range(len(keys) - 1) if keys[i] and keys[i] == keys[i + 1]]


def layer_path(module: str) -> str:
    """The numbered layer that a module path lies in; outside of any, the first two parts of the path.

    >>> layer_path("bert.encoder.layer.0.attention.self.query"), layer_path("cls.predictions.transform.dense")
    ('bert.encoder.layer.0', 'cls.predictions')
    """
    parts = module.split(".")
    numbered = next((index for index, part in enumerate(parts) if part.isdigit()), None)
    return ".".join(parts[: 2 if numbered is None else numbered + 1])


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
    """Give nodes that take no time and hold nothing to a neighbour, where no plan loses by it.

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
    holds = np.zeros(graph.num_nodes, dtype=bool)
    holds[graph.held_node] = True
    idle = alone & (graph.time_s == 0) & ~holds & (pins == NO_PIN) & ~graph.is_input
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


def _block_pins(graph: Graph, block_of: IntArray, num_blocks: int, pin_of_node: IntArray) -> IntArray:
    pin = np.full(num_blocks, NO_PIN, dtype=np.int64)
    origin: dict[int, int] = {}
    for index in np.flatnonzero(pin_of_node != NO_PIN).tolist():
        block, stage = int(block_of[index]), int(pin_of_node[index])
        if block in origin and pin[block] != stage:
            first, second = graph.nodes[origin[block]].name, graph.nodes[index].name
            raise InfeasibleError(
                f"nodes {first!r} and {second!r} must stay together but are pinned to stages {pin[block]} and {stage}",
                hint="pin both to one stage or loosen the group",
            )
        pin[block] = stage
        origin.setdefault(block, index)
    if graph.is_input.any() and pin[0] > 0:
        name = graph.nodes[origin[0]].name
        raise InfeasibleError(
            f"node {name!r} is pinned to stage {pin[0]} but stays with the model's inputs, which enter at stage 0",
            hint="drop that pin",
        )
    return pin


def _check_pin_order(blocks: Blocks) -> None:
    """A value cannot go to an earlier stage: a pinned block's ancestors must not be pinned later."""
    latest = blocks.pin.copy()
    holder = np.arange(blocks.num_blocks)
    for block in range(blocks.num_blocks):
        for source in blocks.predecessors[block]:
            if latest[source] > latest[block]:
                if blocks.pin[block] != NO_PIN:
                    _raise_pin_conflict(blocks, int(holder[source]), block)
                latest[block], holder[block] = latest[source], holder[source]


def _raise_pin_conflict(blocks: Blocks, source: int, target: int) -> None:
    first, second = (blocks.graph.nodes[int(np.argmax(blocks.block_of == block))].name for block in (source, target))
    raise InfeasibleError(
        f"node {first!r} is pinned to stage {blocks.pin[source]} and node {second!r}, which depends on it, to the "
        f"earlier stage {blocks.pin[target]}",
        hint="values go to later stages only: swap or drop one of the pins",
    )
