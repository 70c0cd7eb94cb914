"""Lanes and microbatches as one search with the cuts: what is measured of the whole model scales every node alike.

launch_s(batch, lanes)     of the whole model on one device, measured (:class:`partkit.data.profile.FilledTime`)
node's seconds             x launch_s(b, L) / launch_s(profiled batch, 1): its share of a device with L lanes full
latency of an item         L x its stages' seconds + sending
wait to fill               of the first item of a microbatch (B - 1) item periods / load, of the last nothing
wait in line               exponential, of mean item period / (2 (1 - load)): Poisson arrivals that are served evenly
                           (Kingman's bound); of both waits' sum the 99th percentile counts
rate                       without a bound that of the plan; with one its share, the load, at which the p99 is the bound
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
"""Share of the rate at which a latency is told where no bound sets it."""
_MOST_LOAD = 0.95
"""Above that a queue's length is a matter of luck."""
_LEAST_LOAD = 0.1
_STEPS = 30
_TIE = 0.01
"""Share of the rate that a simpler filling may lack."""
_TOLD = 3
"""Runners-up that the plan names."""

Planner = Callable[[Profile, Cluster, PlanRequest], Plan]


@dataclass(frozen=True)
class Filled:
    """A plan with so many lanes and items a microbatch."""

    plan: Plan
    load: float
    """Share of the plan's rate that is served."""
    p99_s: float
    """Latency of 99 in 100 items then."""

    @property
    def served_per_s(self) -> float:
        """Samples per second at that load."""
        return self.load * self.plan.prediction.samples_per_s

    def __str__(self) -> str:
        plan = self.plan
        lanes, items = _counted(plan.lanes, "lane"), _counted(plan.microbatch, "item")
        return (
            f"{lanes} x {items} {format_rate(plan.prediction.samples_per_s)} samples/s, "
            f"p99 {format_seconds(self.p99_s)} at {100 * self.load:.0f}%"
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

    With ``max_latency_s`` the rate is that of Poisson arrivals at which 99 in 100 items are within it.

    ``samples``: in an item. A simpler filling is taken where it lacks 1% at most. Raises :class:`InfeasibleError` where
    none is within the memory caps, or within ``max_latency_s`` at a tenth of its rate.
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
        if max_latency_s is None and len(fitting) > _TOLD:
            break
    if not fitting and late:
        soonest = min(late, key=lambda found: found.p99_s)
        raise InfeasibleError(
            f"no filling is within {format_seconds(max_latency_s or 0.0)}, however few items arrive: {soonest}",
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

    def fill_s(load: float) -> float:
        return (plan.microbatch - 1) * per_item_s / load

    def p99_s(load: float) -> float:
        return alone_s + _late_s(fill_s(load), per_item_s / (2 * (1 - load)))

    load = LOAD if max_latency_s is None else _most_load(p99_s, max_latency_s)
    prediction = plan.prediction.model_copy(update={"latency_s": alone_s})
    update = {"max_delay_s": fill_s(load), "prediction": prediction, "profile_sha256": profile.sha256}
    return Filled(plan.model_copy(update=update), load, p99_s(load))


def _late_s(fill_s: float, mean_s: float) -> float:
    """99th percentile of a time between 0 and ``fill_s``, each as likely, and an exponential one of mean ``mean_s``."""
    if fill_s == 0:
        return mean_s * math.log(100)
    full = fill_s / mean_s

    def share_later(waited: float) -> float:
        """Of items that wait longer, in means: the exponential's tail over what the fill took."""
        within = max(0.0, 1 - waited / full)
        return within + (math.exp(min(waited, full) - waited) - math.exp(-waited)) / full

    return mean_s * _root(lambda waited: share_later(waited) <= 0.01, full + math.log(100), 0.0)


def _most_load(p99_s: Callable[[float], float], limit_s: float) -> float:
    """The highest load whose 99th percentile is within the limit; that of the shortest where none is.

    With little load a microbatch takes long to fill, with much the line is long: the shortest is between.
    """
    loads = [_LEAST_LOAD + (_MOST_LOAD - _LEAST_LOAD) * step / _STEPS for step in range(_STEPS + 1)]
    within = [load for load in loads if p99_s(load) <= limit_s]
    if not within:
        return min(loads, key=p99_s)
    if within[-1] == loads[-1]:
        return loads[-1]
    return _root(lambda load: p99_s(load) <= limit_s, within[-1], loads[loads.index(within[-1]) + 1])


def _root(holds: Callable[[float], bool], yes: float, no: float) -> float:
    """Where ``holds`` ends, between a value for which it does and one for which it does not."""
    for _ in range(_STEPS):
        middle = (yes + no) / 2
        yes, no = (middle, no) if holds(middle) else (yes, middle)
    return yes


def _chosen(fitting: list[Filled]) -> Plan:
    best = max(found.served_per_s for found in fitting)
    near = [found for found in fitting if found.served_per_s >= best * (1 - _TIE)]
    chosen = min(near, key=lambda found: (found.plan.lanes * found.plan.microbatch, found.p99_s))
    others = [found for found in fitting if found is not chosen]
    others.sort(key=lambda found: -found.served_per_s)
    told = ", against ".join(map(str, [chosen, *others[:_TOLD]]))
    detail = "; ".join(filter(None, (told, chosen.plan.planner.detail)))  # why fewer stages than asked for stays last
    planner = chosen.plan.planner.model_copy(update={"detail": detail})
    return chosen.plan.model_copy(update={"planner": planner})


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
