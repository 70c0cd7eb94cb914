"""The planner's front door: one request in, one complete plan out."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module

from partkit.data.cluster import Cluster
from partkit.data.plan import NO_EXECUTOR, Alternative, Bound, Constraints, NodeTimes, Plan, PlannerRun
from partkit.data.profile import Profile
from partkit.errors import UsageError
from partkit.planners.costs.sending import Aim, Sending, cheapest_sending
from partkit.planners.infeasible import no_plan
from partkit.planners.problem.problem import TOLERANCE, Problem, make_problem
from partkit.planners.problem.request import PlanRequest
from partkit.planners.proofs.bounds import LowerBound, bound_with_recomputing, simple_bound
from partkit.planners.registry import PLANNERS
from partkit.planners.search.assemble import plan_stages, predict
from partkit.planners.search.outcome import Outcome, plan_value, rank_of

BASELINES = ("even", "by_params")
PROVED = 1e-7
"""Relative gap below which a plan counts as the best: bounds by maximum flow are rounded down by less."""


def make_plan(profile: Profile, cluster: Cluster, request: PlanRequest) -> Plan:
    """The best plan for ``request``: stages, prediction, proved bound and the baselines on the same cost.

    Raises :class:`InfeasibleError` where no plan satisfies the request, :class:`UsageError` for an unknown
    planner or an option out of range, :class:`FormatError` for a graph that cannot be planned at all.

    >>> from partkit.data.cluster import Device, Link
    >>> from partkit.data.profile import Node
    >>> nodes = tuple(Node(name=name, time_s=seconds) for name, seconds in zip("abc", (2.0, 1.0, 1.0)))
    >>> profile = Profile(nodes=nodes, edges=(("a", "b"), ("b", "c")))
    >>> cluster = Cluster(devices=(Device(name="x"), Device(name="y")), link=Link(bytes_per_s=1.0))
    >>> plan = make_plan(profile, cluster, PlanRequest(num_stages=2))
    >>> [stage.nodes for stage in plan.stages], plan.prediction.period_s, plan.bound.optimal
    ([('a',), ('b', 'c')], 2.0, True)
    """
    started_s = time.perf_counter()
    problem = make_problem(profile, cluster, request)
    name = "refine" if request.planner == "auto" and not request.contiguous else request.planner
    planner = load_planner(name)
    outcome = None if problem.lacking_bytes > 0 else planner(problem)
    if outcome is None:
        raise no_plan(problem, planner, name, profile.model.source)
    baselines = {name: load_planner(name)(problem) for name in BASELINES}
    if name == "auto":
        outcome = _best_of(problem, outcome, baselines)
    alternatives = tuple(
        Alternative(planner=name, period_s=found.costs.period_s) for name, found in baselines.items() if found
    )
    seconds = time.perf_counter() - started_s
    return to_plan(profile, problem, outcome, alternatives, seconds)


def load_planner(name: str) -> Callable[[Problem], Outcome | None]:
    """The planner of that name. Raises :class:`UsageError` for an unknown one."""
    if name not in PLANNERS:
        raise UsageError(f"there is no planner {name!r}", hint=f"choose one of {', '.join(PLANNERS)}")
    module, _, function = PLANNERS[name].partition(":")
    planner: Callable[[Problem], Outcome | None] = getattr(import_module(module), function)
    return planner


def _best_of(problem: Problem, outcome: Outcome, baselines: dict[str, Outcome | None]) -> Outcome:
    """A baseline can only win where the search was cut short."""
    return min((outcome, *filter(None, baselines.values())), key=lambda found: rank_of(problem, found)[0])


def to_plan(
    profile: Profile, problem: Problem, outcome: Outcome, alternatives: tuple[Alternative, ...], seconds: float
) -> Plan:
    """The plan file of an outcome."""
    request = problem.request
    is_contiguous = not bool((outcome.costs.traffic.source > outcome.costs.traffic.target).any())
    sending = _sending(problem, outcome)
    return Plan(
        model=profile.model,
        stages=plan_stages(problem.graph, outcome.assignment, sending, num_slots=request.num_slots),
        objective=request.objective,
        lanes=request.lanes,
        microbatch=request.microbatch,
        max_delay_s=request.max_delay_s,
        prediction=predict(profile, problem.cluster, sending.costs),
        bound=certify(problem, outcome, sending),
        alternatives=alternatives,
        constraints=Constraints(
            memory_caps_bytes={str(device): cap for device, cap in sorted(request.memory_caps_bytes.items())},
            pins=dict(request.pins),
            keep_together=request.keep_together,
            granularity=request.granularity,
            num_stages=request.num_stages,
            max_replicas=request.max_replicas,
            num_slots=request.num_slots,
        ),
        cluster=problem.cluster,
        executor="pipeline" if is_contiguous else NO_EXECUTOR,
        contiguous=is_contiguous,
        planner=PlannerRun(
            name=outcome.planner, asked=request.planner, seconds=seconds, detail=_detail(problem, outcome)
        ),
        profile_sha256=profile.sha256,
        node_times=NodeTimes(method=profile.method, device=profile.device.name),
    )


def _detail(problem: Problem, outcome: Outcome) -> str:
    """How the plan was found, and that devices stay idle where they do."""
    num_stages, most = outcome.assignment.num_stages, problem.max_stages
    is_fewer = problem.request.num_stages is not None and num_stages < most
    idle = f"{num_stages} of at most {most} stages are best" if is_fewer else ""
    return "; ".join(filter(None, (outcome.detail, idle)))


def _sending(problem: Problem, outcome: Outcome) -> Sending:
    """What crosses between the outcome's stages."""
    caps = tuple(min(problem.cap_of(device) for device in devices) for devices in outcome.assignment.devices)
    aim = Aim(problem.request.objective, problem.request.num_slots, caps)
    return cheapest_sending(problem.graph, problem.cluster, outcome.assignment, aim)


def certify(problem: Problem, outcome: Outcome, sending: Sending) -> Bound:
    """The best lower bound known for the request, with the plan's gap to it.

    Exact searches hold for plans that compute nothing twice; where recomputing has taken the plan below such a
    bound, only total work and the heaviest node are left as bounds.
    """
    bounds = [simple_bound(problem)]
    if outcome.covers_all:
        bounds.append(LowerBound(outcome.bound, f"{outcome.planner}: exact search of all contiguous plans"))
    best = max(bounds, key=lambda bound: bound.value)
    value = plan_value(problem.request.objective, sending, num_slots=problem.request.num_slots)
    if sending.copies and value < best.value * (1 - TOLERANCE):
        best = bound_with_recomputing(problem)
    lower = min(best.value, value)
    gap = value / lower - 1 if lower > 0 else 0.0
    optimal = value <= lower * (1 + PROVED)
    gap = 0.0 if optimal else gap
    name = {"throughput": "period_s", "latency": "latency_s", "memory": "peak_bytes"}[problem.request.objective]
    return Bound.model_validate({name: lower, "gap": gap, "proved_by": best.proved_by, "optimal": optimal})
