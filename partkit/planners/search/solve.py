"""The best plan over given cuts, for each objective."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from partkit.planners.costs.cost import Assignment, combine
from partkit.planners.costs.graph import FloatArray
from partkit.planners.problem.cuts import Cuts
from partkit.planners.problem.problem import TOLERANCE, Problem, assign_devices
from partkit.planners.search.bottleneck import Reached, Solver, Step, Tables, Total
from partkit.planners.search.outcome import Outcome, rank_of
from partkit.planners.search.traffic_search import MAX_WORK, TrafficSearch, needs_search

Forbidden = frozenset[tuple[int, int, int]]
"""(end, start, kind) of stages that the check of true peaks has ruled out."""

_MAX_PEAK_CHECKS = 200


def solve(
    problem: Problem, cuts: Cuts, planner: str, *, check_peaks: bool = True, search_work: int = MAX_WORK
) -> Outcome | None:
    """The best plan for the request's objective whose stages lie between ``cuts``; None when there is none.

    The outcome's bound holds for all plans over these cuts. Where traffic depends on more than the two cuts
    around a stage (fanout "each" with values read by several stages, unequal links), the plan's exact cost
    may exceed it; a search of ``search_work`` at most then looks for the best. Peaks over a cap rule a stage out and
    all is done again, unless ``check_peaks`` is off.
    """
    forbidden: set[tuple[int, int, int]] = set()
    for _ in range(_MAX_PEAK_CHECKS):
        found = _solve_once(problem, cuts, planner, frozenset(forbidden), search_work)
        if found is None:
            return None
        outcome, steps = found
        misfits = problem.misfits(outcome.assignment, outcome.costs) if check_peaks and problem.has_caps else []
        if not misfits:
            return outcome
        forbidden |= {_key(steps, stage) for stage in misfits}
    return None


def _key(steps: list[Step], stage: int) -> tuple[int, int, int]:
    return steps[stage].end, steps[stage - 1].end if stage else 0, steps[stage].kind


def _solve_once(
    problem: Problem, cuts: Cuts, planner: str, forbidden: Forbidden, search_work: int
) -> tuple[Outcome, list[Step]] | None:
    objective = problem.request.objective
    if objective == "memory":
        return _solve_memory(problem, cuts, planner, forbidden)
    solver = Solver(problem, cuts, period_tables(problem, cuts, forbidden), problem.max_replicas)
    if objective == "latency":
        reached = solver.best_by_state(Total(math.inf, latency_tables(problem, cuts)))
        return None if reached.final is None else _outcome(problem, cuts, planner, [reached], 0.0)
    reached = solver.best_by_state()
    if reached.final is None:
        return None
    bound_s, threshold_s = _shared_bound(solver, reached.best)
    way = latency_tables(problem, cuts) if problem.cluster.shared_cores is None else work_tables(problem, cuts)
    tied = solver.best_by_state(Total(threshold_s * (1 + TOLERANCE), way))
    outcome, steps = _outcome(problem, cuts, planner, [tied, reached], bound_s if solver.is_exhaustive else 0.0)
    if outcome.costs.period_s <= bound_s * (1 + TOLERANCE) or not needs_search(problem):
        return outcome, steps
    search = TrafficSearch(solver, reached, outcome.costs.period_s, search_work)
    better = search.run()
    if better is not None:
        assignment = assignment_of(problem, cuts, better)
        outcome, steps = replace(outcome, assignment=assignment, costs=problem.costs(assignment)), better
    return (replace(outcome, bound=outcome.costs.period_s) if search.is_complete else outcome), steps


def _solve_memory(
    problem: Problem, cuts: Cuts, planner: str, forbidden: Forbidden
) -> tuple[Outcome, list[Step]] | None:
    """Smallest peak first, then the best period among plans that have it."""
    assert cuts.memory_bytes is not None, "the memory objective needs the memory table"
    allowed = period_tables(problem, cuts, forbidden)
    peak = [np.where(np.isinf(table), np.inf, cuts.memory_bytes) for table in allowed]
    solver = Solver(problem, cuts, peak, max_replicas=1)
    smallest = solver.best_by_state()
    if smallest.final is None:
        return None
    bound = smallest.best if solver.is_exhaustive else 0.0
    limit = [np.where(cuts.memory_bytes <= smallest.best * (1 + TOLERANCE), table, np.inf) for table in allowed]
    reached = Solver(problem, cuts, limit, problem.max_replicas).best_by_state()
    return _outcome(problem, cuts, planner, [reached, smallest], bound)


def period_tables(problem: Problem, cuts: Cuts, forbidden: Forbidden = frozenset()) -> Tables:
    """For each kind, seconds by item of one device that runs what lies between two cuts."""
    tables = []
    for index, kind in enumerate(problem.kinds):
        compute_s = _compute(cuts, kind.speed)
        period_s = combine(compute_s, cuts.send_s, cuts.receive_s, overlap=problem.cluster.overlap)
        if cuts.memory_bytes is not None:
            period_s[cuts.memory_bytes > kind.cap_bytes] = np.inf
        for end, start, forbidden_kind in forbidden:
            if forbidden_kind == index:
                period_s[end, start] = np.inf
        tables.append(period_s)
    return tables


def latency_tables(problem: Problem, cuts: Cuts) -> Tables:
    """For each kind, what a stage adds to one item's way: compute and receiving."""
    return [_compute(cuts, kind.speed) + cuts.receive_s for kind in problem.kinds]


def work_tables(problem: Problem, cuts: Cuts) -> Tables:
    """For each kind, everything that a stage's host does for one item: compute, sending and receiving."""
    return [table + cuts.send_s for table in latency_tables(problem, cuts)]


def _compute(cuts: Cuts, speed: float) -> FloatArray:
    return (cuts.work_s[:, None] - cuts.work_s[None, :]) / speed


def _shared_bound(solver: Solver, bottleneck_s: float) -> tuple[float, float]:
    """Best period where devices share cores, and the largest stage period of a plan that has it.

    With W(T) the least total work of plans whose stages are within T, the best period is the least
    max(T, W(T) / cores). W falls as T grows, so the crossing is found by bisection over the table's entries that lie
    between the period of the plan with the smallest bottleneck and what that many cores need at least.
    """
    cores = solver.problem.cluster.shared_cores
    if cores is None:
        return bottleneck_s, bottleneck_s
    work = work_tables(solver.problem, solver.cuts)

    def shared_s(threshold_s: float) -> float:
        return solver.best_by_state(Total(threshold_s * (1 + TOLERANCE), work)).best / cores

    most_s = max(bottleneck_s, shared_s(bottleneck_s))
    if most_s <= bottleneck_s * (1 + TOLERANCE):
        return most_s, bottleneck_s
    least_s = max(bottleneck_s, shared_s(most_s))
    entries = [limit[np.isfinite(limit)] / count for limit in solver.limit for count in _replica_counts(solver)]
    thresholds = np.unique(np.concatenate([*entries, [bottleneck_s]]))
    first, last = np.searchsorted(thresholds, [least_s * (1 - TOLERANCE), most_s * (1 + TOLERANCE)])
    thresholds = thresholds[max(first - 1, 0) : last]
    thresholds = thresholds[thresholds >= bottleneck_s]
    low, high = 0, len(thresholds) - 1
    while low < high:
        middle = (low + high) // 2
        if shared_s(float(thresholds[middle])) <= thresholds[middle]:
            high = middle
        else:
            low = middle + 1
    chosen = [float(thresholds[index]) for index in {max(low - 1, 0), low}]
    return min((max(threshold_s, shared_s(threshold_s)), threshold_s) for threshold_s in chosen)


def _replica_counts(solver: Solver) -> range:
    most = max(len(kind.devices) for kind in solver.problem.kinds)
    return range(1, min(most, solver.max_replicas) + 1)


def _outcome(
    problem: Problem, cuts: Cuts, planner: str, found: list[Reached], bound: float
) -> tuple[Outcome, list[Step]]:
    """The best, by exact cost, of what the programmes found."""
    candidates = []
    for reached in found:
        if reached.final is not None:
            steps = reached.steps()
            assignment = assignment_of(problem, cuts, steps)
            candidates.append((Outcome(assignment, problem.costs(assignment), planner, bound), steps))
    return min(candidates, key=lambda candidate: rank_of(problem, candidate[0]))


def assignment_of(problem: Problem, cuts: Cuts, steps: list[Step]) -> Assignment:
    """The assignment that the steps describe, on the devices that they name or the cluster's in order."""
    stage_of_block = np.zeros(cuts.blocks.num_blocks, dtype=np.int64)
    for step in steps[:-1]:
        stage_of_block += ~cuts.members[step.end]
    devices = tuple(step.devices for step in steps)
    if not all(devices):
        devices = assign_devices(problem, [step.kind for step in steps], [step.replicas for step in steps])
    return Assignment(stage_of_block[cuts.blocks.block_of], devices)
