"""Pick the algorithms that fit the graph's size and keep the best plan."""

from __future__ import annotations

from dataclasses import replace

from partkit.planners.algorithms import ideals, orders
from partkit.planners.problem.problem import TOLERANCE, Problem
from partkit.planners.proofs.bounds import simple_bound
from partkit.planners.search.outcome import Outcome, value_of
from partkit.planners.search.placing import place


def plan(problem: Problem) -> Outcome | None:
    """The best of several orders, then, unless that meets its bound, the exact search where it is small enough.

    Where devices or links differ, other orders of the devices are tried last.
    """
    outcome = orders.plan(problem)
    if outcome is not None:
        value = value_of(problem, outcome)
        if value <= simple_bound(problem).value * (1 + TOLERANCE) or (
            outcome.covers_all and value <= outcome.bound * (1 + TOLERANCE)
        ):
            return replace(outcome, detail="the plan meets its lower bound")
    outcome = ideals.improve(problem, outcome)
    return None if outcome is None else place(problem, outcome)
