"""Pick the algorithms that fit the graph's size and keep the best plan."""

from __future__ import annotations

from partkit.planners import chain
from partkit.planners.outcome import Outcome
from partkit.planners.problem import Problem


def plan(problem: Problem) -> Outcome | None:
    """The best plan found."""
    return chain.plan(problem)
