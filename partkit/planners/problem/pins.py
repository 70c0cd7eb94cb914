"""Nodes pinned to stages: resolved to blocks, and refused where pins contradict each other or the graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from partkit.errors import InfeasibleError
from partkit.planners.costs.graph import Graph, IntArray
from partkit.planners.problem.matching import matching_nodes

NO_PIN = -1


def pinned_nodes(graph: Graph, pattern: str) -> list[int]:
    """Nodes that a pin's pattern names."""
    return matching_nodes(graph, pattern, option="--pin")


def node_pins(graph: Graph, pins: Mapping[str, int]) -> IntArray:
    """Stage that each node is pinned to, or ``NO_PIN``. Raises :class:`InfeasibleError` for two stages for one."""
    stage_of = np.full(graph.num_nodes, NO_PIN, dtype=np.int64)
    origin: dict[int, str] = {}
    for pattern, stage in pins.items():
        for index in pinned_nodes(graph, pattern):
            if index in origin and stage_of[index] != stage:
                raise InfeasibleError(
                    f"node {graph.nodes[index].name!r} is pinned to stage {stage_of[index]} by {origin[index]!r} "
                    f"and to stage {stage} by {pattern!r}",
                    hint="make the patterns disjoint",
                )
            stage_of[index], origin[index] = stage, pattern
    return stage_of


def block_pins(graph: Graph, block_of: IntArray, num_blocks: int, pin_of_node: IntArray) -> IntArray:
    """Stage that each block is pinned to. Raises :class:`InfeasibleError` where its nodes disagree."""
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


def check_pin_order(graph: Graph, block_of: IntArray, pin: IntArray, predecessors: list[list[int]]) -> None:
    """A value cannot go to an earlier stage: a pinned block's ancestors must not be pinned later."""
    latest, holder = pin.copy(), np.arange(len(pin))
    for block, sources in enumerate(predecessors):
        for source in sources:
            if latest[source] <= latest[block]:
                continue
            if pin[block] != NO_PIN:
                ends = (int(holder[source]), block)
                first, second = (graph.nodes[int(np.argmax(block_of == end))].name for end in ends)
                raise InfeasibleError(
                    f"node {first!r} is pinned to stage {pin[ends[0]]} and node {second!r}, which depends on it, to "
                    f"the earlier stage {pin[block]}",
                    hint="values go to later stages only: swap or drop one of the pins",
                )
            latest[block], holder[block] = latest[source], holder[source]
