"""A plan is made for steps of one token; a step of a chunk is the same graph in other shapes, cut at the same nodes."""

from __future__ import annotations

from partkit.data.plan import Plan
from partkit.errors import MismatchError
from partkit.models.capture import Capture, operation_name
from partkit.stages.cut import StageGraph, cut


def cut_like(captured: Capture, narrow: Capture, plan: Plan) -> tuple[StageGraph, ...]:
    """The stages of ``captured``, a step of another width than ``narrow``, which the plan was made for.

    Raises :class:`MismatchError` where the graphs are not of the same operations under the same names.
    """
    known = {node.name: operation_name(node) for node in narrow.graph.nodes if node.op != "get_attr"}
    found = {node.name: operation_name(node) for node in captured.graph.nodes if node.op != "get_attr"}
    if known != found:
        other = sorted(name for name in known.keys() | found.keys() if known.get(name) != found.get(name))
        raise MismatchError(
            f"a step of several tokens of {plan.model.source} is not the graph of a step of one: {len(other)} of "
            f"{len(known)} operations differ ({', '.join(other[:3])})",
            hint="this model cannot be planned with --generate",
        )
    return cut(captured, plan.stage_by_node, len(plan.stages), recomputes=plan.recomputes_by_stage)
