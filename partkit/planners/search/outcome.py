"""What a planner hands back, and how it is measured by the request's objective."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from partkit.planners.costs.cost import Assignment, Costs, stage_peak_bytes
from partkit.planners.costs.sending import Sending
from partkit.planners.problem.problem import Problem


@dataclass(frozen=True, eq=False)
class Outcome:
    """An assignment with its exact costs and what its planner proved on the way."""

    assignment: Assignment
    costs: Costs
    planner: str
    bound: float = 0.0
    """No plan that this planner may choose has a smaller objective."""
    covers_all: bool = False
    """The planner may choose any plan whose stages are contiguous in some order: the bound is everybody's."""
    detail: str = ""
    """How the plan was found, for people."""


def objective_value(problem: Problem, assignment: Assignment, costs: Costs) -> float:
    """Seconds or bytes that the request wants small."""
    sending = Sending(problem.graph, assignment, costs)
    return plan_value(problem.request.objective, sending, num_slots=problem.request.num_slots)


def plan_value(objective: str, sending: Sending, *, num_slots: int) -> float:
    """Seconds or bytes that count, of a plan with what it recomputes."""
    costs = sending.costs
    if objective == "latency":
        return costs.latency_s
    if objective == "memory":
        peaks = stage_peak_bytes(sending.graph, sending.assignment, costs.traffic, num_slots=num_slots)
        return float(peaks.max())
    return costs.period_s


def value_of(problem: Problem, outcome: Outcome) -> float:
    """The outcome's objective."""
    return objective_value(problem, outcome.assignment, outcome.costs)


def rank_of(problem: Problem, outcome: Outcome) -> tuple[float, float, float, int]:
    """Sort key: objective to 9 digits, then period, latency and number of stages."""
    costs = outcome.costs
    value = float(f"{value_of(problem, outcome):.9g}")
    return value, float(f"{costs.period_s:.9g}"), costs.latency_s, outcome.assignment.num_stages


def compact(stage_of: np.ndarray, devices: list[tuple[int, ...]]) -> Assignment:
    """An assignment without its empty stages."""
    used = np.unique(stage_of)
    number = np.full(len(devices), -1)
    number[used] = np.arange(len(used))
    return Assignment(number[stage_of], tuple(devices[stage] for stage in used.tolist()))
