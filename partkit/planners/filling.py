"""Lanes and microbatches as one search with the cuts: what is measured of the whole model scales every node alike.

launch_s(batch, lanes)     of the whole model on one device, measured (:class:`partkit.data.profile.FilledTime`)
node's seconds             x launch_s(b, L) / launch_s(profiled batch, 1): its share of a device with L lanes full
latency of an item         L x its stages' seconds + sending + the wait for its microbatch to fill
99 of 100 at 90% load      + ln(100) / (2 (1 - 0.9)) item periods: the tail of a queue of Poisson arrivals that are
                           served evenly (Kingman's exponential bound)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from partkit.data.cluster import Cluster
from partkit.data.plan import Plan
from partkit.data.profile import Profile
from partkit.data.units import format_rate, format_seconds
from partkit.errors import InfeasibleError, UsageError
from partkit.planners.problem.request import PlanRequest

LOAD = 0.9
"""Share of the rate at which the bound on latency is to hold."""
_TAIL = math.log(100) / (2 * (1 - LOAD))
_TIE = 0.01
"""Share of the rate that a simpler filling may lack."""
_TOLD = 3
"""Runners-up that the plan names."""

Planner = Callable[[Profile, Cluster, PlanRequest], Plan]


@dataclass(frozen=True)
class Filled:
    """A plan with so many lanes and items a microbatch."""

    plan: Plan
    p99_s: float
    """Latency of 99 in 100 items at :data:`LOAD` of the rate."""

    def __str__(self) -> str:
        plan = self.plan
        lanes, items = _counted(plan.lanes, "lane"), _counted(plan.microbatch, "item")
        return (
            f"{lanes} x {items} {format_rate(plan.prediction.samples_per_s)} samples/s, "
            f"p99 {format_seconds(self.p99_s)}"
        )


def scaled(profile: Profile, batch: int, lanes: int) -> Profile:
    """The profile with batches of so many samples and every lane full: the times are a node's share of the device.

    As it is where that was not measured. ``batch`` is at most the profile's own.
    """
    times = {(each.batch, each.lanes): each.launch_s for each in profile.filling}
    own = profile.model.batch
    if (own, 1) not in times or (batch, lanes) not in times:
        return profile
    by_time, by_size = times[batch, lanes] / times[own, 1], batch / own
    nodes = tuple(
        node.model_copy(
            update={"time_s": node.time_s * by_time, "output_bytes": math.ceil(node.output_bytes * by_size)}
        )
        for node in profile.nodes
    )
    model = profile.model.resized({"batch": batch}) if batch != own else profile.model
    return profile.model_copy(update={"nodes": nodes, "model": model})


def plan_filled(
    profile: Profile,
    cluster: Cluster,
    request: PlanRequest,
    planner: Planner,
    *,
    lanes: int | None,
    microbatch: int | None,
    samples: int,
    max_latency_s: float | None,
) -> Plan:
    """The plan of the highest rate over all lanes and microbatches that were measured (None: any; else that many).

    ``samples``: in an item. A simpler filling is taken where it lacks 1% at most. Raises :class:`InfeasibleError` where
    none is within the memory caps, or within ``max_latency_s`` at 90% of its rate.
    """
    choices = sorted(
        (
            each
            for each in profile.filling
            if each.batch % samples == 0
            and (lanes is None or each.lanes == lanes)
            and (microbatch is None or each.batch == microbatch * samples)
        ),
        key=lambda each: (-each.batch / each.launch_s, each.batch * each.lanes),
    )
    if not choices:
        raise UsageError("nothing was measured of the lanes and microbatches that were asked for", hint="ask for auto")
    fitting, late, fault = list[Filled](), list[Filled](), None
    for each in choices:
        asked = {"lanes": each.lanes, "microbatch": each.batch // samples}
        try:
            plan = planner(scaled(profile, each.batch, each.lanes), cluster, request.model_copy(update=asked))
        except InfeasibleError as error:
            fault = error
            continue
        found = _filled(plan, profile, max_latency_s)
        (fitting if max_latency_s is None or found.p99_s <= max_latency_s else late).append(found)
        if len(fitting) > _TOLD:
            break
    if not fitting and late:
        soonest = min(late, key=lambda found: found.p99_s)
        raise InfeasibleError(
            f"no filling is within {format_seconds(max_latency_s or 0.0)} at {100 * LOAD:.0f}% of its rate: {soonest}",
            hint="allow a longer --max-latency",
        )
    if not fitting:
        assert fault is not None
        raise fault
    return _chosen(fitting)


def _filled(plan: Plan, profile: Profile, max_latency_s: float | None) -> Filled:
    """The plan with its latency as an item sees it, and the delay that its microbatches are given to fill."""
    per_item_s = plan.prediction.period_s / plan.microbatch
    compute_s = sum(stage.compute_s for stage in plan.stages)
    alone_s = plan.prediction.latency_s + (plan.lanes - 1) * compute_s
    fill_s = (plan.microbatch - 1) * per_item_s / LOAD
    tail_s = _TAIL * per_item_s
    room_s = math.inf if max_latency_s is None else max(0.0, max_latency_s - alone_s - tail_s)
    delay_s = min(fill_s, room_s)
    prediction = plan.prediction.model_copy(update={"latency_s": alone_s})
    update = {"max_delay_s": delay_s, "prediction": prediction, "profile_sha256": profile.sha256}
    return Filled(plan.model_copy(update=update), alone_s + fill_s + tail_s)


def _chosen(fitting: list[Filled]) -> Plan:
    best = max(found.plan.prediction.samples_per_s for found in fitting)
    near = [found for found in fitting if found.plan.prediction.samples_per_s >= best * (1 - _TIE)]
    chosen = min(near, key=lambda found: (found.plan.lanes * found.plan.microbatch, found.p99_s))
    others = [found for found in fitting if found is not chosen]
    others.sort(key=lambda found: -found.plan.prediction.samples_per_s)
    told = ", against ".join(map(str, [chosen, *others[:_TOLD]]))
    detail = "; ".join(filter(None, (told, chosen.plan.planner.detail)))  # why fewer stages than asked for stays last
    planner = chosen.plan.planner.model_copy(update={"detail": detail})
    return chosen.plan.model_copy(update={"planner": planner})


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
