"""The graph as a file that Google's Model Explorer opens, and figures of its nodes that it colours them by.

:func:`render` writes a graph collection, ``{"label", "graphs": [{"id", "nodes"}]}``, as its maintainers say that the
built-in JSON adapter reads one (https://github.com/google-ai-edge/model-explorer/issues/113); the fields of graphs,
nodes, edges and overlays are those of ``graph_builder.py`` in src/server/package/src/model_explorer there.
:func:`render_times` and :func:`render_bytes` write node data to be loaded beside that graph,
``{graph id: {"results": {node id: {"value"}}, "gradient"}}``, as ``node_data_builder.py`` defines them.
Both were opened in its release 0.1.34.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from partkit.data.plan import Plan
from partkit.data.printable import escaped_json, line
from partkit.data.profile import Node, Profile
from partkit.data.units import format_bytes, format_seconds
from partkit.reports.colours import stage_colour

GRAPH_ID = "main"
_TINT = 0.65
"""White in a node's fill, so that its label stays legible on every stage's colour; the border has the colour itself."""
_CUT_COLOUR = "#d55e00"
_COLD, _HOT = "#ffffff", "#d55e00"


def render(profile: Profile, plan: Plan | None) -> str:
    """Operations in layers by module, in the colour of their stage; uses that cross a cut are an overlay with bytes."""
    stage_by_node = plan.stage_by_node if plan is not None else {}
    uses: dict[str, list[str]] = {}
    for source, target in profile.edges:
        uses.setdefault(target, []).append(source)
    graph: dict[str, Any] = {
        "id": GRAPH_ID,
        "nodes": [_node(node, uses.get(node.name, []), stage_by_node.get(node.name)) for node in profile.nodes],
        "groupNodeAttributes": _groups(profile),
    }
    if plan is not None:
        graph["tasksData"] = {"edgeOverlaysDataListLeftPane": [_cuts(profile, plan)]}
    return _text({"label": line(profile.model.source), "graphs": [graph]})


def render_times(profile: Profile, _: Plan | None) -> str:
    """Seconds of each operation."""
    return _node_data({node.name: node.time_s for node in profile.nodes})


def render_bytes(profile: Profile, _: Plan | None) -> str:
    """Bytes of each operation's value: what a cut behind it would send."""
    return _node_data({node.name: node.output_bytes for node in profile.nodes})


def _node_data(values: dict[str, float] | dict[str, int]) -> str:
    gradient = [{"stop": 0, "bgColor": _COLD}, {"stop": 1, "bgColor": _HOT}]
    results = {name: {"value": value} for name, value in values.items()}
    return _text({GRAPH_ID: {"results": results, "gradient": gradient}})


def _node(node: Node, operands: list[str], stage: int | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": node.name,
        "label": line(node.op or node.name),
        "namespace": line(node.module).replace(".", "/"),
        "attrs": [{"key": key, "value": value} for key, value in _attributes(node, stage)],
        "incomingEdges": [
            {"sourceNodeId": operand, "sourceNodeOutputId": "0", "targetNodeInputId": str(place)}
            for place, operand in enumerate(operands)
        ],
        "outputsMetadata": [{"id": "0", "attrs": [{"key": "size", "value": format_bytes(node.output_bytes)}]}],
    }
    if stage is not None:
        colour = stage_colour(stage)
        told["style"] = {"backgroundColor": _tinted(colour), "borderColor": colour}
    return told


def _attributes(node: Node, stage: int | None) -> Iterator[tuple[str, str]]:
    yield "name", line(node.name)
    if stage is not None:
        yield "stage", str(stage)
    yield "time", format_seconds(node.time_s)
    yield "parameters", format_bytes(node.param_bytes)
    if node.free:
        yield "free", "depends on no input: rebuilt on each stage that uses it"


def _groups(profile: Profile) -> dict[str, dict[str, str]]:
    """Time and size of each layer of modules, and of the whole under the empty name."""
    nodes: dict[str, list[Node]] = {}
    for node in profile.nodes:
        parts = line(node.module).split(".") if node.module else []
        for depth in range(len(parts) + 1):
            nodes.setdefault("/".join(parts[:depth]), []).append(node)
    return {
        path: {
            "time": format_seconds(sum(node.time_s for node in each)),
            "parameters": format_bytes(profile.param_bytes_of(each)),
        }
        for path, each in nodes.items()
    }


def _cuts(profile: Profile, plan: Plan) -> dict[str, Any]:
    stage_by_node = plan.stage_by_node
    size = {node.name: node.output_bytes for node in profile.nodes}
    crossing = [
        {"sourceNodeId": source, "targetNodeId": target, "label": format_bytes(size[source])}
        for source, target in profile.edges
        if len({stage_by_node.get(source), stage_by_node.get(target)} - {None}) > 1
    ]
    overlay = {"name": "values that cross", "edgeColor": _CUT_COLOUR, "edgeWidth": 3, "edges": crossing}
    return {"type": "edge_overlays", "name": f"cuts between {len(plan.stages)} stages", "overlays": [overlay]}


def _tinted(colour: str) -> str:
    """A colour ``#rrggbb`` mixed with white.

    >>> _tinted("#0072b2")
    '#a6cee4'
    """
    parts = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(255 * _TINT + part * (1 - _TINT)):02x}" for part in parts)


def _text(data: object) -> str:
    return escaped_json(json.dumps(data, ensure_ascii=False, separators=(",", ":"))) + "\n"
