"""Plans between which one must choose: throughput against latency."""

from __future__ import annotations

import math
import time

from partkit.cluster import Cluster
from partkit.plan import Alternative, Plan
from partkit.planners.bottleneck import Solver
from partkit.planners.chain import own_order
from partkit.planners.cuts import chain_cuts
from partkit.planners.infeasible import no_plan
from partkit.planners.make import load_planner, to_plan
from partkit.planners.outcome import Outcome
from partkit.planners.problem import TOLERANCE, Problem, make_problem
from partkit.planners.request import PlanRequest
from partkit.planners.solve import assignment_of, latency_tables, period_tables
from partkit.profile import Profile

MAX_POINTS = 32


def pareto(profile: Profile, cluster: Cluster, request: PlanRequest) -> list[Plan]:
    """Plans that no other found plan beats in both period and latency, best throughput first.

    One sweep of the programme "least latency within a largest stage period" over falling periods, on the
    graph's own order, joined by the best plan for throughput. At most ``MAX_POINTS`` plans. Raises
    :class:`InfeasibleError` as :func:`make_plan` does.
    """
    started_s = time.perf_counter()
    request = request.model_copy(update={"objective": "throughput"})
    problem = make_problem(profile, cluster, request)
    best = load_planner(request.planner)(problem)
    if best is None:
        raise no_plan(problem, request.planner)
    outcomes = undominated([best, *_sweep(problem)])
    seconds = time.perf_counter() - started_s
    alternatives = (Alternative(planner=best.planner, period_s=best.costs.period_s),)
    return [to_plan(profile, problem, outcome, alternatives, seconds) for outcome in outcomes]


def undominated(outcomes: list[Outcome]) -> list[Outcome]:
    """Outcomes without those that another is at least as good as in both; by rising period."""
    kept: list[Outcome] = []
    for outcome in sorted(outcomes, key=lambda found: (found.costs.period_s, found.costs.latency_s)):
        if not kept or outcome.costs.latency_s < kept[-1].costs.latency_s * (1 - TOLERANCE):
            kept.append(outcome)
    return kept


def _sweep(problem: Problem) -> list[Outcome]:
    blocks = problem.all_blocks if problem.has_caps else problem.blocks
    num_slots = problem.request.num_slots if problem.has_caps else None
    cuts = chain_cuts(blocks, own_order(blocks), problem.best_link, num_slots=num_slots)
    solver = Solver(problem, cuts, period_tables(problem, cuts), problem.max_replicas)
    way = latency_tables(problem, cuts)
    threshold_s = math.inf
    outcomes: list[Outcome] = []
    while len(outcomes) < MAX_POINTS:
        reached = solver.best_by_state(threshold_s, way)
        if reached.final is None:
            break
        steps = reached.steps()
        assignment = assignment_of(problem, cuts, steps)
        outcome = Outcome(assignment, problem.costs(assignment), "pareto", detail="least latency at this period")
        if problem.fits(assignment, outcome.costs):
            outcomes.append(outcome)
        bounds = [0, *(step.end for step in steps)]
        limits = [
            solver.limit[step.kind][step.end, start] / step.replicas for step, start in zip(steps, bounds, strict=False)
        ]
        threshold_s = max(limits) * (1 - 1e-6)
    return outcomes
