"""The graph as GraphML, which Gephi, yEd, Cytoscape and networkx read."""

from __future__ import annotations

import networkx as nx

from partkit.data.plan import Plan
from partkit.data.printable import line
from partkit.data.profile import Profile


def render(profile: Profile, plan: Plan | None) -> str:
    """A node for each operation with its figures and stage; an edge for each use, with whether it crosses a cut."""
    stage_by_node = plan.stage_by_node if plan is not None else {}
    output_bytes = {node.name: node.output_bytes for node in profile.nodes}
    graph = nx.DiGraph(model=line(profile.model.source), times=profile.method)
    for node in profile.nodes:
        stage = {"stage": stage_by_node[node.name]} if node.name in stage_by_node else {}
        graph.add_node(
            line(node.name),
            module=line(node.module),
            op=line(node.op),
            time_s=float(node.time_s),
            param_bytes=node.param_bytes,
            output_bytes=node.output_bytes,
            **stage,
        )
    for source, target in profile.edges:
        stages = {stage_by_node.get(source), stage_by_node.get(target)} - {None}
        graph.add_edge(line(source), line(target), bytes=output_bytes[source], crosses=len(stages) > 1)
    return "\n".join(nx.generate_graphml(graph)) + "\n"
