"""Run a plan on ranks, check its outputs against the unsplit model and measure it."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from partkit.data.job import RunJob
from partkit.data.orders import CheckOutputs, DescribeEnvironment, Load, RunItems, TimeStages, WriteReference
from partkit.data.places import places
from partkit.data.plan import Plan
from partkit.data.progress import Progress, silent
from partkit.data.replies import ItemsRun, Loaded, OutputDifference
from partkit.data.result import Check, Latency, RankUse, RunResult, StageTime
from partkit.data.units import format_seconds
from partkit.machine.devices import num_cores
from partkit.machine.environment import describe_environment, describe_gpus
from partkit.ranks.fork_client import started_by_launcher
from partkit.ranks.group import RankGroup, Ranks
from partkit.ranks.launched import is_one_host, join
from partkit.ranks.run_options import P95_ITEMS, RunOptions, job_of
from partkit.runs.rates import latencies, overall_rate
from partkit.runs.statistics import percentile

TOLERANCES = {"float64": 1e-9, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
"""Largest allowed difference of outputs by dtype, times the largest reference output where that is above 1."""

TF32_TOLERANCE = 1e-2
"""The same for float32 with TF32 products, which keep 10 bits of each operand (as float16 does)."""

_DRIFT = 0.15
"""Share by which stage and rate may both differ from what was planned before the profile is called in doubt."""

_CHECKED_ITEMS = 12
"""Enough for every slot of two replicas to be used again: what would overwrite an item early shows then."""
_LONG_RUN = 20_000
"""Items of a timed run from which on a sample of outputs is checked within it: copying them out takes time."""
_SAMPLE = 17
_WARM_ITEMS = 6
_MIN_ITEMS = 12
_SECONDS = 10.0


def run_plan(plan: Plan, options: RunOptions | None = None, progress: Progress | None = None) -> RunResult | None:
    """Run a plan as the executor that it names and measure it.

    Under torchrun every rank calls this; only rank 0 gets the result, the others None. Raises
    :class:`MachineError` where the plan's devices are missing and :class:`RankFailedError` when a rank dies.
    A failed check does not raise: ``result.check.passed`` is False.
    """
    options, tell = options or RunOptions(), progress or silent
    job = job_of(plan, plan.executor, options)
    if started_by_launcher():
        group = join(job)
        if group is None:
            return None
        result = _drive(group, plan, options, tell, can_check=is_one_host())
        group.stop()
        return result
    with RankGroup(job, port=options.port) as own:
        return _drive(own, plan, options, tell, can_check=True)


def _drive(group: Ranks[RunJob], plan: Plan, options: RunOptions, tell: Progress, *, can_check: bool) -> RunResult:
    """The steps of a run, on ranks that are there."""
    with tempfile.TemporaryDirectory(prefix="partkit-") as folder:
        reference = make_reference(group.job, Path(folder), tell) if options.check and can_check else None
        tell("Loading stages", 1, 4)
        result = drive_loaded(group, plan, options, group.call(Load()), reference, tell)
    if options.check and not can_check:
        told = "outputs were not checked: the ranks are on several hosts"
        return result.model_copy(update={"warnings": (*result.warnings, told)})
    return result


def drive_loaded(
    group: Ranks[RunJob],
    plan: Plan,
    options: RunOptions,
    loaded: Sequence[Loaded],
    reference: Path | None,
    tell: Progress = silent,
) -> RunResult:
    """Check and measure ranks that have answered the order to load with ``loaded``."""
    tell("Checking outputs", 2, 4)
    check = check_outputs(group, reference, at_once=items_at_once(loaded))
    tell("Measuring", 3, 4)
    measured = measure_group(group, options, reference)
    check = _worse(check, judged([run.sample for run in measured.runs], group.job))
    tell("Measuring", 4, 4)
    environment = group.call(DescribeEnvironment())[0].environment | {"command": describe_environment()["command"]}
    environment |= describe_gpus() if group.job.device == "cuda" else {}
    warnings = [*_warnings(plan, group.job, measured), *itertools.chain(*(reply.warnings for reply in loaded))]
    if options.rate_per_s is not None:
        warnings.append(f"items arrived at random, {options.rate_per_s:g} samples/s in the mean: see the latency only")
    return _result(plan, group.job, check, measured, environment, warnings)


# --- the steps of a run -------------------------------------------------------------------------------------


def make_reference(job: RunJob, folder: Path, tell: Progress = silent) -> Path:
    """Outputs of the unsplit model for the checked items, written to a file in ``folder`` by a process of its own."""
    tell("Running the unsplit model", 0, 4)
    with RankGroup(unsplit_job(job)) as group:
        group.call(Load())
        return write_reference(group, folder)


def unsplit_job(job: RunJob) -> RunJob:
    """The order for one rank that runs the unsplit model, on the job's first device."""
    return job.model_copy(update={"executor": "single", "devices": job.devices[:1]})


def write_reference(single: RankGroup[RunJob], folder: Path) -> Path:
    """Outputs for each distinct input, by a loaded group of the unsplit model."""
    path = folder / "reference.safetensors"
    single.call(WriteReference(num_items=single.job.num_inputs, path=str(path)))
    return path


def items_at_once(loaded: Sequence[Loaded]) -> int:
    """Items that the ranks' launches take, by what they told when they were loaded."""
    return max(reply.items_at_once for reply in loaded)


def check_outputs(group: Ranks[RunJob], reference: Path | None, *, at_once: int = 1) -> Check:
    """Compare a group's outputs with the reference's; ``at_once`` items fill a launch."""
    if reference is None:
        return judged([], group.job)
    replies = group.call(CheckOutputs(num_items=max(_CHECKED_ITEMS, at_once), reference=str(reference)))
    return judged([reply.difference for reply in replies], group.job, ran=True)


def judged(differences: Sequence[OutputDifference | None], job: RunJob, *, ran: bool = False) -> Check:
    """Combine ranks' output differences into a check, by what the model's precision allows.

    None stands for a rank that returned nothing; ``ran``: some rank must have returned something.
    """
    spec = job.model
    allowed = TF32_TOLERANCE if spec.tf32 and spec.dtype == "float32" else TOLERANCES[spec.dtype]
    told = [each for each in differences if each is not None]
    if not told:
        return Check(max_abs_diff=None, tolerance=allowed, passed=False if ran else None)
    tolerance = allowed * max(1.0, *(each.max_abs for each in told))
    finite = [each.max_abs_diff for each in told if each.max_abs_diff is not None]
    worst = max(finite) if len(finite) == len(told) else None
    passed = all(each.matches for each in told) and worst is not None and worst <= tolerance
    return Check(max_abs_diff=worst, tolerance=tolerance, passed=passed)


def _worse(before: Check, during: Check) -> Check:
    """The check to tell, of that before the run and that of items within it."""
    if during.passed is None:
        return before
    if not during.passed or not before.passed:
        return during if before.passed else before
    return max(before, during, key=lambda check: check.max_abs_diff or 0.0)


@dataclass(frozen=True)
class Measured:
    """What a group told of its timed runs, by rank."""

    stage_s: dict[int, float]
    """Seconds by place."""
    runs: list[ItemsRun]
    items: int
    samples_per_s: float
    steady_per_s: float
    latencies_s: list[float]


def measure_group(group: Ranks[RunJob], options: RunOptions, reference: Path | None = None) -> Measured:
    """Stage times, a warm-up that also sets the number of items, the timed run, then single items."""
    replies = group.call(TimeStages())
    stage_s = {place: seconds for reply in replies for place, seconds in reply.seconds_by_place.items()}
    rate = overall_rate(group.call(RunItems(num_items=_WARM_ITEMS)), group.job)[0]
    if options.rate_per_s is not None:
        return _measure_at_rate(group, options, options.rate_per_s, stage_s)
    items = options.items or max(_MIN_ITEMS, math.ceil(rate * (options.seconds or _SECONDS) / group.job.fed.batch))
    order = RunItems(num_items=items)
    if items >= _LONG_RUN and reference is not None:
        # an odd step goes round all the distinct inputs
        sample = tuple(range(items - 1, -1, -(items // _SAMPLE | 1)))
        order = RunItems(num_items=items, sample=sample, reference=str(reference))
    runs = group.call(order)
    samples_per_s, steady_per_s = overall_rate(runs, group.job)
    num_single = options.items or items if options.mode == "latency" else min(options.latency_items, items)
    single = group.call(RunItems(num_items=num_single, one_at_a_time=True))
    return Measured(stage_s, runs, items, samples_per_s, steady_per_s, latencies(single))


def _measure_at_rate(
    group: Ranks[RunJob], options: RunOptions, rate_per_s: float, stage_s: dict[int, float]
) -> Measured:
    """Items that arrive as a Poisson process; their latency counts from the arrival, queueing included."""
    per_s = rate_per_s / group.job.fed.batch
    items = options.items or max(_MIN_ITEMS, math.ceil(per_s * (options.seconds or _SECONDS)))
    runs = group.call(RunItems(num_items=items, rate_per_s=per_s))
    samples_per_s, steady_per_s = overall_rate(runs, group.job)
    return Measured(stage_s, runs, items, samples_per_s, steady_per_s, latencies(runs))


def _result(
    plan: Plan,
    job: RunJob,
    check: Check,
    measured: Measured,
    environment: dict[str, Any],
    warnings: Sequence[str],
) -> RunResult:
    stages = _stage_times(plan, measured.stage_s)
    slowest = max((stage.measured_s / len(plan.stages[stage.index].devices) for stage in stages), default=None)
    steady = measured.steady_per_s
    return RunResult(
        executor=job.executor,
        samples_per_s=measured.samples_per_s,
        steady_samples_per_s=steady,
        latency_s=Latency(p50=percentile(measured.latencies_s, 0.5), p95=percentile(measured.latencies_s, 0.95)),
        items=measured.items,
        batch=job.fed.batch,
        check=check,
        stages=stages,
        bottleneck_efficiency=None if slowest is None else steady * slowest / job.fed.batch,
        prediction_error=abs(plan.prediction.samples_per_s - steady) / steady,
        ranks=tuple(use for rank, run in enumerate(measured.runs) for use in rank_uses(rank, run)),
        environment=environment,
        warnings=tuple(warnings),
    )


def drift(plan: Plan, measured: Measured) -> list[str]:
    """A warning where the prediction did not come true and the slowest stage's time is not the profile's either."""
    slowest = max(_stage_times(plan, measured.stage_s), key=lambda stage: stage.measured_s, default=None)
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


def _stage_times(plan: Plan, stage_s: Mapping[int, float]) -> tuple[StageTime, ...]:
    """Of each stage its slowest replica's time."""
    slowest: dict[int, float] = {}
    for place in places(plan):
        if place.index in stage_s:
            slowest[place.stage] = max(slowest.get(place.stage, 0.0), stage_s[place.index])
    return tuple(
        StageTime(index=index, predicted_s=plan.stages[index].compute_s, measured_s=seconds)
        for index, seconds in slowest.items()
    )


def rank_uses(rank: int, run: ItemsRun) -> list[RankUse]:
    """One rank's part of a run result, by device that it computes on."""
    return [
        RankUse(rank=rank, busy=run.busy, host_peak_bytes=run.host_peak_bytes, **use.model_dump()) for use in run.uses
    ]


def _warnings(plan: Plan, job: RunJob, measured: Measured) -> list[str]:
    told = []
    needed, cores = job.num_ranks * job.threads, num_cores()
    if job.device == "cpu" and needed > cores:
        told.append(
            f"{job.num_ranks} ranks of {job.threads} thread(s) share {cores} cores: stages wait for a core, "
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
    if planned == job.device and job.fed.sizes == job.model.sizes and not plan.node_times.is_analytic:
        told += drift(plan, measured)
    if len(measured.latencies_s) < P95_ITEMS:
        told.append(f"latency_s.p95 rests on {len(measured.latencies_s)} items only")
    return told
