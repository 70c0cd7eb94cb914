"""partkit: how to split a PyTorch model over devices, how fast that will be, and whether it is worth it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from partkit.compare import CompareOptions, compare_executors
    from partkit.errors import PartkitError
    from partkit.jobs import RunOptions
    from partkit.pipeline import Pipeline, open_pipeline
    from partkit.planners import PlanRequest, make_plan, plan_as_asked
    from partkit.runner import run_plan
    from partkit.sources import parse_model
    from partkit.workflow import machine_cluster, profile_model

__all__ = [
    "CompareOptions",
    "PartkitError",
    "Pipeline",
    "PlanRequest",
    "RunOptions",
    "compare_executors",
    "machine_cluster",
    "make_plan",
    "open_pipeline",
    "parse_model",
    "plan_as_asked",
    "profile_model",
    "run_plan",
]

_HOMES = {
    "CompareOptions": "partkit.compare",
    "PartkitError": "partkit.errors",
    "Pipeline": "partkit.pipeline",
    "PlanRequest": "partkit.planners",
    "RunOptions": "partkit.runner",
    "compare_executors": "partkit.compare",
    "machine_cluster": "partkit.workflow",
    "make_plan": "partkit.planners",
    "open_pipeline": "partkit.pipeline",
    "parse_model": "partkit.sources",
    "plan_as_asked": "partkit.planners",
    "profile_model": "partkit.workflow",
    "run_plan": "partkit.runner",
}
"""Where each public name lives; looked up on first use, so that importing partkit costs nothing."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
