"""The plan that a person who asks for N stages expects: N of them and balanced, unless fewer are clearly better."""

from __future__ import annotations

from partkit.cluster import Cluster
from partkit.errors import InfeasibleError
from partkit.plan import Plan
from partkit.planners.check import repredict
from partkit.planners.make import make_plan
from partkit.planners.request import PlanRequest
from partkit.profile import Profile

IDLE_GAIN = 0.02
"""Share of the period that leaving devices idle must save to be preferred."""
TIE = 0.002
"""Share of the period within which a plan with balanced stages is as good as one without."""


def plan_as_asked(profile: Profile, cluster: Cluster, request: PlanRequest) -> Plan:
    """The best plan, with all of ``num_stages`` used where that costs no more than :data:`IDLE_GAIN` of the period.

    Where devices share cores, many plans reach about the same period; one with balanced stages is taken. The bound
    stays that of all plans with at most ``num_stages`` stages. Raises what :func:`make_plan` raises.
    """
    best = make_plan(profile, cluster, request)
    if request.num_stages is None or request.objective != "throughput" or request.planner != "auto":
        return best
    if len(best.stages) >= request.num_stages and cluster.shared_cores is None:
        return best
    apart = cluster.model_copy(update={"shared_cores": None})
    try:
        full = make_plan(profile, apart, request.model_copy(update={"exact_num_stages": True}))
    except InfeasibleError:
        return best
    full = repredict(full.model_copy(update={"cluster": cluster, "bound": best.bound}), profile)
    gap = full.prediction.period_s / best.bound.period_s - 1 if best.bound.period_s > 0 else 0.0
    allowed = IDLE_GAIN if len(best.stages) < request.num_stages else TIE
    if full.prediction.period_s > best.prediction.period_s * (1 + allowed):
        return best
    bound = best.bound.model_copy(update={"gap": max(gap, 0.0), "optimal": best.bound.optimal and gap <= 1e-9})
    return full.model_copy(update={"bound": bound, "alternatives": best.alternatives, "edited": False})
