"""Local search from the best plan known, one block at a time; where asked for, also to stages that send back."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from partkit.planners.algorithms import auto
from partkit.planners.costs.cost import Assignment, Costs
from partkit.planners.costs.graph import IntArray
from partkit.planners.problem.pins import NO_PIN
from partkit.planners.problem.problem import TOLERANCE, Problem
from partkit.planners.search.outcome import Outcome, objective_value

DEFAULT_LIMIT_S = 5.0

Score = tuple[float, float]


def plan(problem: Problem) -> Outcome | None:
    """The best contiguous plan, then single blocks moved between any two stages while that helps.

    Steepest descent on (objective, sum of squared stage periods), on the blocks of the slowest stage first. Values
    stay on their way to later stages unless the request allows otherwise: a plan whose stages send back and forth
    is labelled, and no executor runs it, since each runs a stage once for an item. No proof beyond those of the
    plan that it starts from.
    """
    start = auto.plan(problem)
    if start is None or start.assignment.num_stages == 1:
        return start
    if not problem.request.contiguous:  # what was proved holds for plans whose values go forward
        start = replace(start, bound=0.0, covers_all=False)
    deadline_s = time.perf_counter() + (problem.request.time_limit_s or DEFAULT_LIMIT_S)
    current, costs = start.assignment, start.costs
    num_moves = 0
    while time.perf_counter() < deadline_s:
        better = _best_move(problem, current, costs, deadline_s)
        if better is None:
            break
        current, costs = better
        num_moves += 1
    if num_moves == 0:
        return replace(start, detail=f"{start.detail}; no move of a block helps".lstrip("; "))
    detail = f"{num_moves} blocks moved from the plan of {start.planner!r} ({start.costs.period_s:.4g} s)"
    return replace(start, assignment=current, costs=costs, planner="refine", detail=detail)


def _best_move(
    problem: Problem, assignment: Assignment, costs: Costs, deadline_s: float
) -> tuple[Assignment, Costs] | None:
    stage_of_block = _stage_of_block(problem, assignment)
    movable = np.ones(problem.blocks.num_blocks, dtype=bool) & (problem.blocks.pin == NO_PIN)
    movable[0] &= not problem.blocks.has_input
    best_score, best = _score(problem, assignment, costs), None
    for stage in np.argsort(-costs.stage_period_s).tolist():
        for block in np.flatnonzero((stage_of_block == stage) & movable).tolist():
            if time.perf_counter() > deadline_s:
                return best
            for target in range(assignment.num_stages):
                moved = _moved(problem, assignment, block, target)
                if moved is None:
                    continue
                moved_costs = problem.costs(moved)
                score = _score(problem, moved, moved_costs)
                if _is_less(score, best_score) and problem.fits(moved, moved_costs):
                    best_score, best = score, (moved, moved_costs)
        if best is not None:
            return best
    return best


def _stage_of_block(problem: Problem, assignment: Assignment) -> IntArray:
    return assignment.stage_of[np.unique(problem.blocks.block_of, return_index=True)[1]]


def _moved(problem: Problem, assignment: Assignment, block: int, target: int) -> Assignment | None:
    stage_of = np.where(problem.blocks.block_of == block, target, assignment.stage_of)
    if np.array_equal(stage_of, assignment.stage_of) or len(np.unique(stage_of)) < assignment.num_stages:
        return None
    graph = problem.graph
    is_forward = (stage_of[graph.use_source] <= stage_of[graph.use_target]).all()
    return Assignment(stage_of, assignment.devices) if is_forward or not problem.request.contiguous else None


def _score(problem: Problem, assignment: Assignment, costs: Costs) -> Score:
    return objective_value(problem, assignment, costs), float((costs.stage_period_s**2).sum())


def _is_less(score: Score, other: Score) -> bool:
    if score[0] < other[0] * (1 - TOLERANCE):
        return True
    return score[0] <= other[0] and score[1] < other[1] * (1 - TOLERANCE)
