"""Which nodes must stay on one stage, and why: groups, patterns of the request, and its granularity."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from partkit.data.module_paths import block_of
from partkit.planners.costs.graph import Graph
from partkit.planners.problem.matching import matching_nodes
from partkit.planners.problem.request import Granularity


@dataclass(frozen=True)
class Tie:
    """Nodes that stay together, and what demands it."""

    nodes: tuple[int, ...]
    reason: str


def find_ties(graph: Graph, keep_together: Sequence[str], granularity: Granularity) -> list[Tie]:
    """All ties of a graph under a request.

    Tied are the model's inputs, nodes of one group, nodes that one ``keep_together`` pattern matches, and runs of
    nodes of one module (or numbered layer) where the granularity forbids cuts there. Raises what
    :func:`matching_nodes` raises.
    """
    ties = [Tie(tuple(np.flatnonzero(graph.is_input).tolist()), "the model's inputs")]
    by_group: dict[str, list[int]] = {}
    for index, node in enumerate(graph.nodes):
        if node.group is not None:
            by_group.setdefault(node.group, []).append(index)
    ties += [Tie(tuple(members), f"group {group!r}") for group, members in by_group.items()]
    for pattern in keep_together:
        members = matching_nodes(graph, pattern, option="--keep-together")
        ties.append(Tie(tuple(members), f"--keep-together {pattern!r}"))
    ties += _same_module_runs(graph, granularity)
    return [tie for tie in ties if len(tie.nodes) > 1]


def _same_module_runs(graph: Graph, granularity: Granularity) -> Iterator[Tie]:
    """Neighbours in order that belong to one call of one module (or of one numbered layer)."""
    if granularity == "op":
        return
    path_of = block_of if granularity == "layer" else str
    for path, run in itertools.groupby(range(graph.num_nodes), key=lambda node: path_of(graph.nodes[node].module)):
        if path:
            yield Tie(tuple(run), f"--granularity {granularity} within {path!r}")
