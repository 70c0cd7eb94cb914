"""The plan that a person who asks for N stages expects: N of them and balanced, unless fewer are clearly better."""

from __future__ import annotations

from partkit.data.cluster import Cluster
from partkit.data.plan import Plan
from partkit.data.profile import Profile
from partkit.data.units import format_bytes, format_rate, format_seconds
from partkit.errors import InfeasibleError, TooFewDevicesError
from partkit.planners.check import objective_of, repredict, under_bound
from partkit.planners.enough_devices import enough_devices, like_devices_cap
from partkit.planners.make import load_planner, make_plan
from partkit.planners.problem.problem import make_problem
from partkit.planners.problem.request import PlanRequest

IDLE_GAIN = 0.02
"""Share of the period that leaving devices idle must save to be preferred."""
TIE = 0.002
"""Share of the period within which a plan with balanced stages is as good as one without."""
COSTS_NOTHING = 5e-4
"""Share of the period that is not worth a word."""


def plan_as_asked(profile: Profile, cluster: Cluster, request: PlanRequest) -> Plan:
    """The best plan, with all of ``num_stages`` used where that costs no more than :data:`IDLE_GAIN` of the period.

    Where devices share cores, many plans reach about the same period; one with balanced stages is taken. The bound
    stays that of all plans with at most ``num_stages`` stages. Where the number is left to the planner, or the plan
    has fewer stages than were asked for, its ``planner.detail`` ends with why it took this one, and where cuts may lie
    between modules or layers only, with what that costs. Where the number is
    left to the planner and the cluster's devices cannot hold the model, the plan is for the fewest like them that can.
    Raises what :func:`make_plan` raises.
    """
    plan = _within_limits(profile, cluster, request)
    if request.granularity == "op":
        return plan
    return _with_detail(plan, _cost_of_granularity(plan, profile, request))


def _within_limits(profile: Profile, cluster: Cluster, request: PlanRequest) -> Plan:
    if request.num_stages is None:
        try:
            best = make_plan(profile, cluster, request)
        except TooFewDevicesError as error:
            return _planned_for_more(profile, cluster, request, error)
        return _with_detail(best, "; ".join(filter(None, _why_so_many(best, profile, request))))
    plan = _as_asked(profile, cluster, request)
    if len(plan.stages) >= request.num_stages:
        return plan
    asked = _reached_with(request.num_stages, plan, profile, request)
    return _with_detail(plan, f"{_figure(plan)} with {len(plan.stages)}, against {asked}")


def _cost_of_granularity(plan: Plan, profile: Profile, request: PlanRequest) -> str:
    """What a plan of as many stages that cuts anywhere would reach."""
    asked = {"granularity": "op", "num_stages": len(plan.stages), "exact_num_stages": True}
    try:
        free = make_plan(profile, plan.cluster, request.model_copy(update=asked))
    except InfeasibleError:
        return ""
    saved = objective_of(plan) / objective_of(free) - 1 if objective_of(free) > 0 else 0.0
    if saved < COSTS_NOTHING:
        return f"cuts between whole {request.granularity}s cost nothing here"
    costs = f"cuts between whole {request.granularity}s only cost {100 * saved:.1f}%"
    return f"{costs}: {_figure(free)} where cuts lie anywhere"


def _as_asked(profile: Profile, cluster: Cluster, request: PlanRequest) -> Plan:
    best = make_plan(profile, cluster, request)
    assert request.num_stages is not None
    if request.objective != "throughput" or request.planner != "auto":
        return best
    if len(best.stages) >= request.num_stages and cluster.shared_cores is None:
        return best
    apart = cluster.model_copy(update={"shared_cores": None})
    try:
        full = make_plan(profile, apart, request.model_copy(update={"exact_num_stages": True}))
    except InfeasibleError:
        return best
    full = repredict(full.model_copy(update={"cluster": cluster}), profile)
    allowed = IDLE_GAIN if len(best.stages) < request.num_stages else TIE
    if full.prediction.period_s > best.prediction.period_s * (1 + allowed):
        return best
    return under_bound(full, best.bound).model_copy(update={"alternatives": best.alternatives, "edited": False})


def _with_detail(plan: Plan, reason: str) -> Plan:
    detail = "; ".join(filter(None, (plan.planner.detail, reason)))
    return plan.model_copy(update={"planner": plan.planner.model_copy(update={"detail": detail})})


def _planned_for_more(profile: Profile, cluster: Cluster, request: PlanRequest, error: TooFewDevicesError) -> Plan:
    """The plan for as many devices as are enough, each with the cap of those that are there."""
    count = error.num_devices
    caps = dict.fromkeys(range(count), next(iter(request.memory_caps_bytes.values()), 0))
    more = request.model_copy(update={"memory_caps_bytes": caps if request.memory_caps_bytes else {}})
    return _with_detail(make_plan(profile, cluster.with_devices(count), more), error.message)


def _fewest(best: Plan, profile: Profile, request: PlanRequest) -> str:
    """How many of the cluster's devices hold the model, where one alone does not; empty where one does."""
    if request.pins:
        return ""
    on_one = make_problem(profile, best.cluster, request.model_copy(update={"num_stages": 1}))
    cap = like_devices_cap(on_one)
    if cap is None or not on_one.lacking_bytes:
        return ""
    enough = enough_devices(on_one, load_planner("orders" if request.planner == "auto" else request.planner))
    if enough is None:
        return ""
    needed = format_bytes(sum(enough.peak_bytes))
    return f"{enough.num_devices} devices of {format_bytes(cap)} are the fewest found to hold its {needed}"


def _why_so_many(best: Plan, profile: Profile, request: PlanRequest) -> tuple[str, str]:
    """Why the plan's number of stages was taken: the fewest that fit; what one fewer and one more would reach."""
    count, most = len(best.stages), len(best.cluster.devices)
    others = [_reached_with(other, best, profile, request) for other in (count - 1, count + 1) if 1 <= other <= most]
    against = f", against {' and '.join(others)}" if others else ""
    are_best = f"1 stage of at most {most} is" if count == 1 else f"{count} stages of at most {most} are"
    return _fewest(best, profile, request), f"{are_best} best for {best.objective}: {_figure(best)}{against}"


def _reached_with(count: int, best: Plan, profile: Profile, request: PlanRequest) -> str:
    planner = "orders" if request.planner == "auto" else request.planner
    exact = {"num_stages": count, "exact_num_stages": True, "planner": planner}
    try:
        return f"{_figure(make_plan(profile, best.cluster, request.model_copy(update=exact)))} with {count}"
    except InfeasibleError:
        return f"no plan with {count}"


def _figure(plan: Plan) -> str:
    if plan.objective == "memory":
        return f"a peak of {format_bytes(objective_of(plan))}"
    if plan.objective == "latency":
        return f"{format_seconds(plan.prediction.latency_s)} an item"
    return f"{format_rate(plan.prediction.samples_per_s)} samples/s"
