"""What a reader of a run's result must know: where its prediction does not hold, and where the profile is in doubt."""

from __future__ import annotations

from partkit.data.job import RunJob
from partkit.data.plan import Plan
from partkit.data.units import format_seconds
from partkit.machine.devices import num_cores
from partkit.ranks.run_options import P95_ITEMS
from partkit.runs.measure import Measured
from partkit.runs.run_result import stage_times

_DRIFT = 0.15
"""Share by which stage and rate may both differ from what was planned before the profile is called in doubt."""


def _threads_told(job: RunJob) -> str:
    return " and ".join(map(str, job.threads_by_rank)) or str(job.threads)


def warnings_of(plan: Plan, job: RunJob, measured: Measured) -> list[str]:
    """Warnings of one run of ``plan``."""
    told = []
    needed, cores = job.total_threads, num_cores()
    if job.device == "cpu" and needed > cores:
        told.append(
            f"{job.num_ranks} ranks of {_threads_told(job)} thread(s) share {cores} cores: stages wait for a core, "
            "stage times are processor time, and bottleneck_efficiency cannot reach 1"
        )
    indexes = job.device_by_place or job.devices
    if job.device == "cuda" and len(set(indexes)) < len(indexes):
        told.append(
            f"{len(indexes)} stages share {len(set(indexes))} GPU(s): the prediction and bottleneck_efficiency "
            "are of stages that have one each"
        )
    if job.fed.sizes != job.model.sizes:
        told.append("items are smaller than the plan's largest: its prediction does not hold for them")
    planned = plan.cluster.devices[0].type
    if planned != job.device:
        told.append(f"the plan was made for {planned} devices; its prediction does not hold on {job.device}")
    if plan.node_times.is_analytic:
        told.append(
            f"the plan's times are analytic, of {plan.node_times.device}: its prediction was computed, not measured"
        )
    if plan.lanes > job.lanes:
        told.append(f"the plan's {plan.lanes} lanes are for GPUs: on the CPU a stage computes one item at a time")
    is_as_planned = planned == job.device and job.lanes == 1 and job.fed.sizes == job.model.sizes
    if is_as_planned and not plan.node_times.is_analytic:
        told += drift(plan, measured)
    if len(measured.latencies_s) < P95_ITEMS:
        told.append(f"latency_s.p95 rests on {len(measured.latencies_s)} items only")
    return told


def drift(plan: Plan, measured: Measured) -> list[str]:
    """A warning where the prediction did not come true and the slowest stage's time is not the profile's either."""
    slowest = max(stage_times(plan, measured.stage_s), key=lambda stage: stage.measured_s, default=None)
    if slowest is None or not slowest.predicted_s:
        return []
    takes, planned = slowest.measured_s, slowest.predicted_s
    by_stage, by_rate = takes / planned, plan.prediction.samples_per_s / measured.steady_per_s
    is_slower, is_faster = min(by_stage, by_rate) > 1 + _DRIFT, max(by_stage, by_rate) < 1 - _DRIFT
    if not is_slower and not is_faster:
        return []
    return [
        f"stage {slowest.index} takes {format_seconds(takes)}, and {format_seconds(planned)} "
        "were planned: the profile is of a faster or slower hour; plan again with --measure, or profile with --refresh"
    ]
