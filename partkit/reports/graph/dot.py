"""The graph as DOT, which Graphviz lays out. Written here: networkx's own writer needs pydot or pygraphviz."""

from __future__ import annotations

from collections.abc import Iterator

from partkit.data.plan import Plan
from partkit.data.printable import line
from partkit.data.profile import Node, Profile
from partkit.data.units import format_bytes, format_seconds
from partkit.reports.colours import stage_colour


def render(profile: Profile, plan: Plan | None) -> str:
    """A box for each operation, stages as clusters; uses that cross a cut are bold and tell their bytes."""
    return "\n".join(_lines(profile, plan)) + "\n"


def _lines(profile: Profile, plan: Plan | None) -> Iterator[str]:
    stage_by_node = plan.stage_by_node if plan is not None else {}
    output_bytes = {node.name: node.output_bytes for node in profile.nodes}
    yield f"digraph {_quoted(profile.model.source)} {{"
    yield "  node [shape=box, fontname=sans];"
    for stage in plan.stages if plan is not None else ():
        colour = stage_colour(stage.index)
        yield f"  subgraph cluster_{stage.index} {{"
        yield f'    label="stage {stage.index}"; color="{colour}"; penwidth=3;'
        yield from (f"    {_node(node)}" for node in profile.nodes if stage_by_node.get(node.name) == stage.index)
        yield "  }"
    yield from (f"  {_node(node)}" for node in profile.nodes if node.name not in stage_by_node)
    for source, target in profile.edges:
        stages = {stage_by_node.get(source), stage_by_node.get(target)} - {None}
        bold = f' [style=bold, label="{format_bytes(output_bytes[source])}"]' if len(stages) > 1 else ""
        yield f"  {_quoted(source)} -> {_quoted(target)}{bold};"
    yield "}"


def _node(node: Node) -> str:
    label = "\\n".join(_escaped(text) for text in (node.name, node.op, format_seconds(node.time_s)) if text)
    return f'{_quoted(node.name)} [label="{label}", tooltip={_quoted(node.module or node.name)}];'


def _quoted(name: str) -> str:
    return f'"{_escaped(name)}"'


def _escaped(name: str) -> str:
    return line(name).replace("\\", "\\\\").replace('"', '\\"')
