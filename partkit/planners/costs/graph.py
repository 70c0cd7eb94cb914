"""A profile as arrays over its placed nodes, in topological order: what every cost is computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from partkit.data.profile import INPUT_OP, OUTPUT_OP, Node, Profile
from partkit.errors import FormatError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Graph:
    """The nodes of a profile that a plan places, numbered in topological order.

    Each node makes one value, which has the node's number. Free nodes are left out: what they hold is
    charged, as *holdings*, to the nodes that use them.
    """

    nodes: tuple[Node, ...]
    time_s: FloatArray
    """Calibrated seconds of each node on a device of speed 1."""
    output_bytes: FloatArray
    use_source: IntArray
    """Producer of each use; uses are sorted by producer, then consumer, and are not repeated."""
    use_target: IntArray
    holding_bytes: FloatArray
    """Size of each parameter, buffer or node's own unnamed parameters."""
    held_holding: IntArray
    """Holding of each (holding, node) pair."""
    held_node: IntArray
    """Node of each (holding, node) pair."""
    view_of: IntArray
    """The placed node whose memory each node's value shares; -1 for a value with memory of its own."""
    workspace_bytes: float = 0.0
    """Memory that each stage's device takes beside weights and values."""
    keeps_slots: bool = False
    """True on GPUs, where each slot has the model's inputs and outputs in memory of its own."""
    lanes: int = 1
    """Items that a stage computes side by side: each has values, slots and workspace of its own."""

    @property
    def num_nodes(self) -> int:
        """Number of placed nodes."""
        return len(self.nodes)

    @cached_property
    def index_by_name(self) -> Mapping[str, int]:
        """Number of each placed node."""
        return {node.name: index for index, node in enumerate(self.nodes)}

    @cached_property
    def is_input(self) -> BoolArray:
        """Which nodes are the model's inputs: all of them go to the first stage."""
        is_input = np.array([node.op == INPUT_OP for node in self.nodes], dtype=bool)
        is_input[self.use_target] = False
        return is_input

    @cached_property
    def outputs(self) -> IntArray:
        """The nodes whose values are the model's outputs."""
        is_result = np.array([node.op == OUTPUT_OP for node in self.nodes], dtype=bool)
        return np.unique(self.use_source[is_result[self.use_target]])

    @cached_property
    def views_by_depth(self) -> tuple[IntArray, ...]:
        """The views, those of views of views first, so that what one keeps alive is passed on to its base."""
        depth = np.zeros(self.num_nodes, dtype=np.int64)
        for node in np.flatnonzero(self.view_of >= 0):  # a base comes before its views
            depth[node] = depth[self.view_of[node]] + 1
        return tuple(np.flatnonzero(depth == level) for level in range(int(depth.max(initial=0)), 0, -1))

    def operands_of(self, node: int) -> IntArray:
        """Places in the uses where ``node`` is the consumer."""
        first, last = np.searchsorted(self._targets_in_order, [node, node + 1])
        return self._uses_by_target[first:last]

    @cached_property
    def _uses_by_target(self) -> IntArray:
        return np.argsort(self.use_target, kind="stable")

    @cached_property
    def _targets_in_order(self) -> IntArray:
        return self.use_target[self._uses_by_target]

    def digraph(self) -> nx.DiGraph:
        """The placed nodes' uses as a networkx graph over node numbers."""
        graph = nx.DiGraph()
        graph.add_nodes_from(range(self.num_nodes))
        graph.add_edges_from(zip(self.use_source.tolist(), self.use_target.tolist(), strict=True))
        return graph


def build_graph(profile: Profile, *, lanes: int = 1) -> Graph:
    """The placed nodes of ``profile`` in topological order: its own order wherever that is one.

    Raises :class:`FormatError` for a cyclic graph, for a free node that depends on a placed one, and for
    a profile without a node to place. O(nodes + edges).

    >>> from partkit.data.profile import Node, Profile
    >>> nodes = (Node(name="b", time_s=2.0), Node(name="a", time_s=1.0))
    >>> [node.name for node in build_graph(Profile(nodes=nodes, edges=(("a", "b"),))).nodes]
    ['a', 'b']
    """
    ordered = _topological_nodes(profile)
    placed = tuple(node for node in ordered if not node.free)
    if not placed:
        raise FormatError("the profile has no node to place", hint="profile a model with at least one operation")
    index_by_name = {node.name: index for index, node in enumerate(placed)}
    uses = sorted({(index_by_name[a], index_by_name[b]) for a, b in profile.edges if _both(index_by_name, a, b)})
    source, target = (np.array([use[end] for use in uses], dtype=np.int64) for end in (0, 1))
    holding_bytes, pairs = _holdings(profile, ordered, index_by_name)
    scale = profile.calibration.scale
    return Graph(
        nodes=placed,
        time_s=np.array([node.time_s * scale for node in placed], dtype=np.float64),
        output_bytes=np.array([node.output_bytes for node in placed], dtype=np.float64),
        use_source=source,
        use_target=target,
        holding_bytes=np.array(holding_bytes, dtype=np.float64),
        held_holding=np.array([pair[0] for pair in pairs], dtype=np.int64),
        held_node=np.array([pair[1] for pair in pairs], dtype=np.int64),
        view_of=_view_of(placed, index_by_name),
        workspace_bytes=float(profile.calibration.workspace_bytes),
        keeps_slots=profile.device.type == "cuda",
        lanes=lanes,
    )


def _view_of(placed: tuple[Node, ...], index_by_name: Mapping[str, int]) -> IntArray:
    """Numbers of the nodes that views look into; a view of what every stage holds for itself has memory of its own."""
    bases = [-1 if node.view_of is None else index_by_name.get(node.view_of, -1) for node in placed]
    return np.array([base if base < index else -1 for index, base in enumerate(bases)], dtype=np.int64)


def sum_by(index: IntArray, weight: FloatArray, size: int) -> FloatArray:
    """Sum of ``weight`` over each value of ``index`` from 0 to ``size`` - 1."""
    sums: FloatArray = np.bincount(index, weights=weight, minlength=size).astype(np.float64)
    return sums


def _both(index_by_name: Mapping[str, int], a: str, b: str) -> bool:
    return a in index_by_name and b in index_by_name


def _topological_nodes(profile: Profile) -> list[Node]:
    position = {node.name: index for index, node in enumerate(profile.nodes)}
    if all(position[a] < position[b] for a, b in profile.edges):
        return list(profile.nodes)
    graph = nx.DiGraph()
    graph.add_nodes_from(position)
    graph.add_edges_from(profile.edges)
    try:
        names = list(nx.lexicographical_topological_sort(graph, key=position.__getitem__))
    except nx.NetworkXUnfeasible:
        raise FormatError(
            _cycle_text(graph), hint="remove one of these edges: a plan needs a graph without cycles"
        ) from None
    return [profile.nodes[position[name]] for name in names]


def _cycle_text(graph: nx.DiGraph) -> str:
    cycle = [edge[0] for edge in nx.find_cycle(graph)]
    shown = cycle if len(cycle) <= 6 else [*cycle[:5], f"({len(cycle) - 5} more)"]
    return f"the graph has a cycle of {len(cycle)} nodes: {' -> '.join([*shown, cycle[0]])}"


def _holdings(
    profile: Profile, ordered: list[Node], index_by_name: Mapping[str, int]
) -> tuple[list[float], list[tuple[int, int]]]:
    """Sizes of all holdings, and the (holding, placed node) pairs that say who needs which."""
    users_by_free = _users_of_free_nodes(profile, ordered, index_by_name)
    sizes: list[float] = []
    number_by_parameter: dict[str, int] = {}
    pairs: set[tuple[int, int]] = set()
    for node in ordered:
        users = users_by_free[node.name] if node.free else {index_by_name[node.name]}
        for name in node.parameters:
            if name not in number_by_parameter:
                number_by_parameter[name] = len(sizes)
                sizes.append(profile.parameters.get(name, 0))
            pairs.update((number_by_parameter[name], user) for user in users)
        named = sum(profile.parameters.get(name, 0) for name in set(node.parameters))
        unnamed = node.param_bytes + node.buffer_bytes - named
        if unnamed > 0:
            pairs.update((len(sizes), user) for user in users)
            sizes.append(unnamed)
    return sizes, sorted(pairs)


def _users_of_free_nodes(
    profile: Profile, ordered: list[Node], index_by_name: Mapping[str, int]
) -> dict[str, set[int]]:
    """Placed nodes that use each free node, directly or through other free nodes."""
    consumers: dict[str, list[str]] = {node.name: [] for node in ordered if node.free}
    if not consumers:
        return {}
    for source, target in profile.edges:
        if source in consumers:
            consumers[source].append(target)
        elif target in consumers:
            raise FormatError(
                f"node {target!r} is marked free but uses {source!r}, which is not",
                hint="a free node may depend only on free nodes and parameters",
            )
    users: dict[str, set[int]] = {}
    for node in reversed(ordered):
        if node.free:
            users[node.name] = set()
            for name in consumers[node.name]:
                users[node.name] |= users[name] if name in consumers else {index_by_name[name]}
    return users
