"""Plans between which one must choose: throughput against latency."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from partkit.data.cluster import Cluster
from partkit.data.plan import Alternative, Plan
from partkit.data.profile import Profile
from partkit.planners.algorithms.chain import own_order
from partkit.planners.algorithms.orders import orders_of
from partkit.planners.infeasible import no_plan
from partkit.planners.make import load_planner, to_plan
from partkit.planners.problem.cuts import Cuts, chain_cuts
from partkit.planners.problem.problem import TOLERANCE, Problem, make_problem
from partkit.planners.problem.request import PlanRequest
from partkit.planners.search.bottleneck import Solver, Total
from partkit.planners.search.coarse import MAX_BLOCKS, spread_positions
from partkit.planners.search.downset_tables import downset_cuts
from partkit.planners.search.downsets import enumerate_downsets
from partkit.planners.search.outcome import Outcome
from partkit.planners.search.solve import assignment_of, latency_tables, period_tables

MAX_POINTS = 32

_MAX_DOWNSETS = 1_000


def pareto(profile: Profile, cluster: Cluster, request: PlanRequest) -> list[Plan]:
    """Plans that no other found plan beats in both period and latency, best throughput first.

    A sweep of the programme "least latency within a largest stage period" over falling periods, on all downsets or
    several orders, joined by the best plan for throughput. At most ``MAX_POINTS`` plans. Raises
    :class:`InfeasibleError` as :func:`make_plan` does.
    """
    started_s = time.perf_counter()
    request = request.model_copy(update={"objective": "throughput"})
    problem = make_problem(profile, cluster, request)
    planner = load_planner(request.planner)
    best = None if problem.lacking_bytes > 0 else planner(problem)
    if best is None:
        raise no_plan(problem, planner, request.planner, profile.model.source)
    found = [outcome for cuts in _cut_sets(problem) for outcome in _sweep(problem, cuts)]
    outcomes = _spread(undominated([best, *found]))
    seconds = time.perf_counter() - started_s
    alternatives = (Alternative(planner=best.planner, period_s=best.costs.period_s),)
    return [to_plan(profile, problem, outcome, alternatives, seconds) for outcome in outcomes]


def _spread(outcomes: list[Outcome]) -> list[Outcome]:
    """At most ``MAX_POINTS`` of the outcomes, the ends among them."""
    if len(outcomes) <= MAX_POINTS:
        return outcomes
    step = (len(outcomes) - 1) / (MAX_POINTS - 1)
    return [outcomes[round(index * step)] for index in range(MAX_POINTS)]


def undominated(outcomes: list[Outcome]) -> list[Outcome]:
    """Outcomes without those that another is at least as good as in both; by rising period."""
    kept: list[Outcome] = []
    for outcome in sorted(outcomes, key=lambda found: (found.costs.period_s, found.costs.latency_s)):
        if not kept or outcome.costs.latency_s < kept[-1].costs.latency_s * (1 - TOLERANCE):
            kept.append(outcome)
    return kept


def _cut_sets(problem: Problem) -> Iterator[Cuts]:
    """All downsets where they are few; else the cuts of several orders, of a large graph those of one, spread out."""
    blocks = problem.all_blocks if problem.has_caps else problem.blocks
    num_slots = problem.request.num_slots if problem.has_caps else None
    link = problem.best_link
    members = enumerate_downsets(blocks, _MAX_DOWNSETS)
    if members is not None:
        yield downset_cuts(blocks, members, link, num_slots=num_slots)
    elif blocks.num_blocks > MAX_BLOCKS:
        order = own_order(blocks)
        positions = spread_positions(problem, blocks, order)
        yield chain_cuts(blocks, order, link, num_slots=num_slots, positions=positions)
    else:
        for order_of in orders_of(blocks):
            yield chain_cuts(blocks, order_of(blocks), link, num_slots=num_slots)


def _sweep(problem: Problem, cuts: Cuts) -> Iterator[Outcome]:
    """Least latency within ever smaller stage periods."""
    solver = Solver(problem, cuts, period_tables(problem, cuts), problem.max_replicas)
    way = latency_tables(problem, cuts)
    threshold_s = math.inf
    for _ in range(MAX_POINTS):
        reached = solver.best_by_state(Total(threshold_s, way))
        if reached.final is None:
            break
        steps = reached.steps()
        assignment = assignment_of(problem, cuts, steps)
        outcome = Outcome(assignment, problem.costs(assignment), "pareto", detail="least latency at this period")
        if problem.fits(assignment, outcome.costs):
            yield outcome
        starts = [0, *(step.end for step in steps)]
        limits = [
            solver.limit[step.kind][step.end, start] / step.replicas for step, start in zip(steps, starts, strict=False)
        ]
        threshold_s = max(limits) * (1 - 1e-6)
