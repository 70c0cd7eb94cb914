"""partkit: how to split a PyTorch model over devices, how fast that will be, and whether it is worth it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from partkit.data.generate import Sampling
    from partkit.errors import PartkitError
    from partkit.models.sources import parse_model
    from partkit.planners import PlanRequest, make_plan, plan_as_asked
    from partkit.ranks.run_options import RunOptions
    from partkit.runs.compare import CompareOptions, compare_executors
    from partkit.runs.generate import Generator, open_generator
    from partkit.runs.machine_cluster import machine_cluster
    from partkit.runs.open_pipeline import Pipeline, open_pipeline
    from partkit.runs.profile_model import profile_model
    from partkit.runs.run import run_plan

__all__ = [
    "CompareOptions",
    "Generator",
    "PartkitError",
    "Pipeline",
    "PlanRequest",
    "RunOptions",
    "Sampling",
    "compare_executors",
    "machine_cluster",
    "make_plan",
    "open_generator",
    "open_pipeline",
    "parse_model",
    "plan_as_asked",
    "profile_model",
    "run_plan",
]

_HOMES = {
    "CompareOptions": "partkit.runs.compare",
    "Generator": "partkit.runs.generate",
    "PartkitError": "partkit.errors",
    "Pipeline": "partkit.runs.open_pipeline",
    "PlanRequest": "partkit.planners",
    "RunOptions": "partkit.ranks.run_options",
    "Sampling": "partkit.data.generate",
    "compare_executors": "partkit.runs.compare",
    "machine_cluster": "partkit.runs.machine_cluster",
    "make_plan": "partkit.planners",
    "open_generator": "partkit.runs.generate",
    "open_pipeline": "partkit.runs.open_pipeline",
    "parse_model": "partkit.models.sources",
    "plan_as_asked": "partkit.planners",
    "profile_model": "partkit.runs.profile_model",
    "run_plan": "partkit.runs.run",
}
"""Where each public name lives; looked up on first use, so that importing partkit costs nothing."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
