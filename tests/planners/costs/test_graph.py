"""Profiles as graphs: order, faults, what free nodes hold."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from partkit.data.profile import Node, Profile
from partkit.errors import FormatError
from partkit.planners.costs.graph import build_graph


def nodes(names, **changes):
    return tuple(Node(name=name, time_s=1.0, **changes) for name in names)


def test_a_foreign_graph_is_put_in_topological_order():
    graph = build_graph(Profile(nodes=nodes("cab"), edges=(("a", "b"), ("b", "c"))))
    assert [node.name for node in graph.nodes] == ["a", "b", "c"]


def test_a_cycle_is_named():
    with pytest.raises(FormatError, match="the graph has a cycle of 2 nodes: a -> b -> a; remove one of these edges"):
        build_graph(Profile(nodes=nodes("ab"), edges=(("a", "b"), ("b", "a"))))


def test_a_profile_without_nodes_is_refused():
    with pytest.raises(FormatError, match="the profile has no node to place"):
        build_graph(Profile(nodes=nodes("a", free=True), edges=()))


def test_a_free_node_may_not_depend_on_a_placed_one():
    mixed = (Node(name="a", time_s=1.0), Node(name="f", time_s=0.0, free=True))
    with pytest.raises(FormatError, match="node 'f' is marked free but uses 'a', which is not"):
        build_graph(Profile(nodes=mixed, edges=(("a", "f"),)))


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_times_that_are_no_times_are_refused_with_their_place(seconds):
    data = {"kind": "profile", "nodes": [{"name": "a", "time_s": seconds}], "edges": []}
    with pytest.raises(FormatError, match=r"graph.json is not a valid profile: nodes\[0\].time_s"):
        Profile.from_data(data, where="graph.json")


def test_an_edge_to_nowhere_is_refused():
    with pytest.raises(ValidationError, match="names 'z', which is no node"):
        Profile(nodes=nodes("a"), edges=(("a", "z"),))
