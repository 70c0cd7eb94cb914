"""Measurements of a plan and its prediction -> the run's result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from partkit.data.job import RunJob
from partkit.data.places import places
from partkit.data.plan import Plan
from partkit.data.replies import ItemsRun, Loaded
from partkit.data.result import Check, Latency, RankUse, RunResult, StageTime
from partkit.runs.measure import Measured
from partkit.runs.statistics import percentile


def result_of(
    plan: Plan,
    job: RunJob,
    loaded: Sequence[Loaded],
    check: Check,
    measured: Measured,
    environment: dict[str, Any],
    warnings: Sequence[str],
) -> RunResult:
    """The run of ``plan`` as a document."""
    stages = stage_times(plan, measured.stage_s)
    slowest = max((stage.measured_s / len(plan.stages[stage.index].devices) for stage in stages), default=None)
    steady = measured.steady_per_s
    return RunResult(
        executor=job.executor,
        samples_per_s=measured.samples_per_s,
        steady_samples_per_s=steady,
        latency_s=Latency(p50=percentile(measured.latencies_s, 0.5), p95=percentile(measured.latencies_s, 0.95)),
        items=measured.items,
        batch=job.fed.batch,
        lanes=job.lanes,
        microbatch=plan.microbatch,
        check=check,
        stages=stages,
        bottleneck_efficiency=None if slowest is None else steady * slowest / job.fed.batch,
        prediction_error=abs(plan.prediction.samples_per_s - steady) / steady,
        ranks=rank_uses(measured.runs, loaded, job.fed.batch),
        environment=environment,
        warnings=tuple(warnings),
    )


def stage_times(plan: Plan, stage_s: Mapping[int, float]) -> tuple[StageTime, ...]:
    """Of each stage its slowest replica's time."""
    slowest: dict[int, float] = {}
    for place in places(plan):
        if place.index in stage_s:
            slowest[place.stage] = max(slowest.get(place.stage, 0.0), stage_s[place.index])
    return tuple(
        StageTime(index=index, predicted_s=plan.stages[index].compute_s, measured_s=seconds)
        for index, seconds in slowest.items()
    )


def rank_uses(runs: Sequence[ItemsRun], loaded: Sequence[Loaded], batch: int) -> tuple[RankUse, ...]:
    """Each rank's part of a run result, by device that it computes on; its own rate where all return outputs."""
    have_own_items = len(runs) > 1 and all(run.num_finished for run in runs)
    return tuple(
        RankUse(
            rank=rank,
            busy=run.busy,
            host_peak_bytes=run.host_peak_bytes,
            loaded_bytes=told.weight_bytes,
            load_s=told.weights_s if told.weight_bytes else None,
            samples_per_s=run.num_finished * batch / (run.end - run.begin) if have_own_items else None,
            **use.model_dump(),
        )
        for rank, (run, told) in enumerate(zip(runs, loaded, strict=True))
        for use in run.uses
    )
