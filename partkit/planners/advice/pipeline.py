"""Pipeline: the planner's own plan, with at least two stages, and with replicated stages where they are better."""

from __future__ import annotations

from partkit.data.plan import Plan
from partkit.data.units import format_bytes, format_seconds
from partkit.errors import InfeasibleError
from partkit.planners.advice.situation import Estimate, Situation
from partkit.planners.preference import plan_as_asked
from partkit.planners.problem.request import PlanRequest


def pipeline(situation: Situation) -> Estimate | str:
    """What the planner predicts: the slowest stage's period, one item's way through all, the largest peak."""
    count = len(situation.cluster.devices)
    if count < 2:
        return "there is one device"
    plan = best_pipeline(situation)
    if plan is None:
        return "no plan of two or more stages fits on these devices"
    slowest = plan.stages[plan.prediction.bottleneck_stage]
    devices = {device for stage in plan.stages for device in stage.devices}
    alike = "" if len(devices) == len(plan.stages) else f" on {len(devices)} devices"
    return Estimate(
        executor="pipeline",
        devices=len(devices),
        samples_per_s=plan.prediction.samples_per_s,
        latency_s=plan.prediction.latency_s,
        peak_bytes=max(stage.peak_bytes for stage in plan.stages),
        fits=True,
        reason=f"{len(plan.stages)} stages{alike}, the slowest {format_seconds(slowest.period_s)} an item; the largest "
        f"holds {format_bytes(max(stage.peak_bytes for stage in plan.stages))}",
    )


def best_pipeline(situation: Situation) -> Plan | None:
    """The best plan with two stages or more, or None."""
    plans = []
    for request in (
        PlanRequest(objective=situation.objective),
        PlanRequest(objective=situation.objective, max_replicas=None),
        PlanRequest(objective=situation.objective, num_stages=2, exact_num_stages=True),
    ):
        try:
            plan = plan_as_asked(situation.profile, situation.cluster, request)
        except InfeasibleError:
            continue
        # the planner answers too small a machine with a plan for a larger one
        if len(plan.stages) > 1 and len(plan.cluster.devices) == len(situation.cluster.devices):
            plans.append(plan)
    return min(plans, key=lambda plan: _value(plan, situation.objective), default=None)


def _value(plan: Plan, objective: str) -> float:
    if objective == "memory":
        return max(stage.peak_bytes for stage in plan.stages)
    return plan.prediction.latency_s if objective == "latency" else plan.prediction.period_s
