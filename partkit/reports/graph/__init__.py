"""A profile's graph with a plan's stages, in the forms that other programs draw: one form per file."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from partkit.data.plan import Plan
from partkit.data.profile import Profile

GRAPH_FORMS = {
    "dot": "partkit.reports.graph.dot:render",
    "graphml": "partkit.reports.graph.graphml:render",
    "model-explorer": "partkit.reports.graph.model_explorer:render",
    "model-explorer-times": "partkit.reports.graph.model_explorer:render_times",
    "model-explorer-bytes": "partkit.reports.graph.model_explorer:render_bytes",
}


def render_graph(profile: Profile, plan: Plan | None, form: str) -> str:
    """The graph in one of :data:`GRAPH_FORMS`, ending with a newline; without a plan, nodes have no stage."""
    module, _, name = GRAPH_FORMS[form].partition(":")
    renderer: Callable[[Profile, Plan | None], str] = getattr(import_module(module), name)
    return renderer(profile, plan)
