"""What stays together, and for what reason."""

from __future__ import annotations

import pytest

from partkit.data.profile import Node, Profile
from partkit.errors import UsageError
from partkit.planners.costs.graph import build_graph
from partkit.planners.problem.matching import matching_nodes
from partkit.planners.problem.ties import find_ties


def graph(*modules, groups=None):
    nodes = tuple(
        Node(name=f"n{i}", module=module, time_s=1.0, group=(groups or {}).get(i)) for i, module in enumerate(modules)
    )
    return build_graph(Profile(nodes=nodes, edges=tuple((f"n{i}", f"n{i + 1}") for i in range(len(modules) - 1))))


LAYERS = ("net.layer.1.fc", "net.layer.1.fc", "net.layer.1.norm", "net.layer.11.fc", "net.head.a", "net.head.b")


def told(ties):
    return [(tie.nodes, tie.reason) for tie in ties]


def test_granularity_module_ties_one_call_and_layer_a_numbered_block():
    assert told(find_ties(graph(*LAYERS), (), "op")) == []
    assert told(find_ties(graph(*LAYERS), (), "module")) == [((0, 1), "--granularity module within 'net.layer.1.fc'")]
    assert told(find_ties(graph(*LAYERS), (), "layer")) == [
        ((0, 1, 2), "--granularity layer within 'net.layer.1'"),
        ((4, 5), "--granularity layer within 'net.head'"),
    ]


def test_groups_and_patterns_tie_nodes_anywhere():
    assert told(find_ties(graph(*LAYERS, groups={0: "tied", 5: "tied", 3: "alone"}), ("head", "n[01]"), "op")) == [
        ((0, 5), "group 'tied'"),
        ((4, 5), "--keep-together 'head'"),
        ((0, 1), "--keep-together 'n[01]'"),
    ]


def test_a_pattern_matches_paths_from_dot_to_dot_and_whole_names():
    assert matching_nodes(graph(*LAYERS), "layer.1", option="--pin") == [0, 1, 2]
    assert matching_nodes(graph(*LAYERS), "net", option="--pin") == [0, 1, 2, 3, 4, 5]
    assert matching_nodes(graph(*LAYERS), r"layer\.\d+\.fc", option="--pin") == [0, 1, 3]
    assert matching_nodes(graph(*LAYERS), "n4", option="--pin") == [4]
    for pattern in ("ayer.1", "fc.weight", "n"):
        with pytest.raises(UsageError, match="matches no node"):
            matching_nodes(graph(*LAYERS), pattern, option="--pin")
