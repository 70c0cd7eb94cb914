"""A simulation as a result: rates and latencies as a run tells them."""

from __future__ import annotations

import math

import numpy as np

from partkit.data.cluster import Cluster
from partkit.data.plan import Plan
from partkit.data.result import Check, Latency, Simulation, StageIdle, StageTime
from partkit.data.timeline import Event
from partkit.planners.costs.graph import FloatArray
from partkit.planners.simulation import simulate

TRACED_ITEMS = 200
"""Items whose events a trace holds."""
_MOST_EVENTS = 50_000
_SETTLED_AFTER = 0.2
"""Share of outputs after which the pipeline is full, as in a measured run."""
_FOR_P99 = 1000


def simulated_result(
    plan: Plan,
    *,
    cluster: Cluster | None = None,
    num_items: int = 1000,
    samples_per_s: float | None = None,
    jitter: float = 0.0,
    seed: int = 0,
    num_traced: int = 0,
) -> tuple[Simulation, list[Event]]:
    """Simulate a plan; see :func:`partkit.planners.simulation.simulate`. Latencies without a rate are those of an item
    by itself, as a run measures them; with one they count from arrival."""
    batch = plan.model.batch
    rate = None if samples_per_s is None else samples_per_s / batch
    num_traced = min(num_traced, max(1, _MOST_EVENTS // (4 * len(plan.stages))))
    asked = {"cluster": cluster, "jitter": jitter, "seed": seed}
    found = simulate(plan, num_items=num_items, rate_per_s=rate, num_traced=num_traced, **asked)  # type: ignore[arg-type]
    alone = found if rate is not None else simulate(plan, num_items=1, **asked)  # type: ignore[arg-type]
    finished = np.sort(found.finished_s)
    overall = num_items / finished[-1] if finished[-1] > 0 else math.inf
    stages = tuple(
        StageTime(index=stage.index, predicted_s=stage.compute_s, measured_s=stage.compute_s) for stage in plan.stages
    )
    shares = zip(plan.stages, found.busy, found.waits.T, strict=True)
    idle = [
        StageIdle(index=stage.index, busy=busy, input=waits[0], slot=waits[1], send=waits[2])
        for stage, busy, waits in shares
    ]
    result = Simulation(
        executor=plan.executor,
        samples_per_s=overall * batch,
        steady_samples_per_s=(_steady(finished) or overall) * batch,
        latency_s=_latency(alone.latencies_s),
        items=num_items,
        batch=batch,
        check=Check(max_abs_diff=None, tolerance=0.0, passed=None),
        stages=stages,
        idle=tuple(idle),
        notes=("simulated: nothing was run or measured",),
    )
    return result, found.events


def _steady(finished: FloatArray) -> float | None:
    """Outputs per second once the pipeline is full; None for too few."""
    since, last = finished[int(len(finished) * _SETTLED_AFTER)], finished[-1]
    later = int((finished > since).sum())
    return later / float(last - since) if later else None


def _latency(seconds: FloatArray) -> Latency:
    p50, p95, p99 = np.percentile(seconds, (50, 95, 99))
    return Latency(p50=p50, p95=p95, p99=p99 if len(seconds) >= _FOR_P99 else None)
