from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import networkx as nx

from partkit.data.plan import Plan
from partkit.data.profile import Node, Profile
from partkit.reports.graph import render_graph

GOLDEN = Path(__file__).parent.parent / "golden"
PROFILE = Profile.load(GOLDEN / "profile.v1.json")
PLAN = Plan.load(GOLDEN / "plan.v1.json")


def test_graphml_reads_back_with_stages_figures_and_what_crosses() -> None:
    graph = nx.parse_graphml(render_graph(PROFILE, PLAN, "graphml"))
    assert graph.graph["model"] == "bert-tiny"
    assert list(graph) == [node.name for node in PROFILE.nodes]
    assert graph.nodes["gelu"] == {
        "module": "bert.encoder.layer.0.intermediate",
        "op": "aten.gelu.default",
        "time_s": 3e-05,
        "param_bytes": 0,
        "output_bytes": 262144,
        "stage": 0,
    }
    assert "stage" not in graph.nodes["arange"]
    assert set(graph.edges) == set(PROFILE.edges)
    crossing = {(source, target): data["bytes"] for source, target, data in graph.edges(data=True) if data["crosses"]}
    assert crossing == {("gelu", "linear_1"): 262144, ("embedding", "linear_1"): 65536}


def test_a_profile_alone_has_no_stages() -> None:
    graph = nx.parse_graphml(render_graph(PROFILE, None, "graphml"))
    assert not any("stage" in data for _, data in graph.nodes(data=True))
    assert "subgraph" not in render_graph(PROFILE, None, "dot")


def test_dot_has_a_cluster_for_each_stage_and_bold_crossing_edges() -> None:
    text = render_graph(PROFILE, PLAN, "dot")
    assert text.startswith('digraph "bert-tiny" {\n  node [shape=box, fontname=sans];\n  subgraph cluster_0 {\n')
    assert text.count("subgraph") == 2
    label = "gelu\\naten.gelu.default\\n30 µs"
    assert f'    "gelu" [label="{label}", tooltip="bert.encoder.layer.0.intermediate"];\n' in text
    assert '  "gelu" -> "linear_1" [style=bold, label="262 kB"];\n' in text
    assert '  "linear" -> "gelu";\n' in text
    assert text.endswith("}\n")
    assert text.count("{") == text.count("}") == 3


def test_names_end_no_string_and_no_element() -> None:
    name = 'a"]; evil [\\"<&>\x1b\n'
    nodes = (Node(name=name, op=name, module=name, time_s=1.0), Node(name="b", time_s=1.0))
    profile = Profile(nodes=nodes, edges=((name, "b"),))
    shown = 'a"]; evil [\\"<&>\\x1b\\n'
    assert list(nx.parse_graphml(render_graph(profile, None, "graphml"))) == [shown, "b"]
    quoted = '"a\\"]; evil [\\\\\\"<&>\\\\x1b\\\\n"'
    assert f'  {quoted} -> "b";\n' in render_graph(profile, None, "dot")


def explored(profile: Profile, plan: Plan | None, form: str = "model-explorer") -> dict[str, Any]:
    found = json.loads(render_graph(profile, plan, form))
    assert isinstance(found, dict)
    return found


def test_model_explorer_gets_layers_of_modules_stages_in_colour_and_uses_in_order() -> None:
    found = explored(PROFILE, PLAN)
    assert found["label"] == "bert-tiny"
    (graph,) = found["graphs"]
    nodes = {node["id"]: node for node in graph["nodes"]}
    assert list(nodes) == [node.name for node in PROFILE.nodes]
    gelu = nodes["gelu"]
    assert (gelu["label"], gelu["namespace"]) == ("aten.gelu.default", "bert/encoder/layer/0/intermediate")
    assert {each["key"]: each["value"] for each in gelu["attrs"]} == {
        "name": "gelu",
        "stage": "0",
        "time": "30 µs",
        "parameters": "0 B",
    }
    assert gelu["style"] == {"backgroundColor": "#a6cee4", "borderColor": "#0072b2"}
    assert "style" not in nodes["arange"]
    uses = [(edge["sourceNodeId"], name) for name, node in nodes.items() for edge in node["incomingEdges"]]
    assert sorted(uses) == sorted(PROFILE.edges)
    places = [edge["targetNodeInputId"] for edge in nodes["linear_1"]["incomingEdges"]]
    assert places == [str(place) for place in range(len(places))]
    whole = graph["groupNodeAttributes"]
    assert {"", "bert", "bert/encoder", "bert/encoder/layer/0"} <= set(whole)
    assert whole[""]["time"] == "227 µs"


def test_model_explorer_shows_what_crosses_as_an_overlay_and_of_a_profile_none() -> None:
    (graph,) = explored(PROFILE, PLAN)["graphs"]
    (overlays,) = graph["tasksData"]["edgeOverlaysDataListLeftPane"]
    (overlay,) = overlays["overlays"]
    assert (overlays["type"], overlays["name"]) == ("edge_overlays", "cuts between 2 stages")
    crossing = {(edge["sourceNodeId"], edge["targetNodeId"]): edge["label"] for edge in overlay["edges"]}
    assert crossing == {("gelu", "linear_1"): "262 kB", ("embedding", "linear_1"): "65.5 kB"}
    assert "tasksData" not in explored(PROFILE, None)["graphs"][0]


def test_node_data_are_of_the_graph_s_own_nodes() -> None:
    (graph,) = explored(PROFILE, PLAN)["graphs"]
    for form, figure in (("model-explorer-times", "time_s"), ("model-explorer-bytes", "output_bytes")):
        data = explored(PROFILE, PLAN, form)[graph["id"]]
        assert {name: each["value"] for name, each in data["results"].items()} == {
            node.name: getattr(node, figure) for node in PROFILE.nodes
        }
        assert [stop["stop"] for stop in data["gradient"]] == [0, 1]
