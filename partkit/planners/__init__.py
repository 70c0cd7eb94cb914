"""Planners: where to cut a graph, one algorithm a file.

``make_plan`` and its fellows are imported on first use, so that this package's parts can import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

_FRONT = {
    "PLANNERS": "partkit.planners.registry",
    "PlanRequest": "partkit.planners.problem.request",
    "explain_cuts": "partkit.planners.explain",
    "make_plan": "partkit.planners.make",
    "pareto": "partkit.planners.frontier",
    "plan_as_asked": "partkit.planners.preference",
    "repredict": "partkit.planners.check",
    "rescale": "partkit.planners.feedback",
}

__all__ = ["PLANNERS", "PlanRequest", "explain_cuts", "make_plan", "pareto", "plan_as_asked", "repredict", "rescale"]

if TYPE_CHECKING:
    from partkit.planners.check import repredict
    from partkit.planners.explain import explain_cuts
    from partkit.planners.feedback import rescale
    from partkit.planners.frontier import pareto
    from partkit.planners.make import make_plan
    from partkit.planners.preference import plan_as_asked
    from partkit.planners.problem.request import PlanRequest
    from partkit.planners.registry import PLANNERS


def __getattr__(name: str) -> Any:
    if name not in _FRONT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_FRONT[name]), name)
