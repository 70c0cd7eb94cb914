"""Run a plan on ranks, check its outputs against the unsplit model and measure it: the steps, each in a file.

job_of -> RankGroup -> make_reference -> Load -> check_outputs -> measure_group -> warnings_of -> result_of
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from partkit.data.job import RunJob
from partkit.data.orders import CopyReference, DescribeEnvironment, Load
from partkit.data.plan import Plan
from partkit.data.progress import BYTES_STEP, Progress, ProgressFile, silent
from partkit.data.replies import Loaded
from partkit.data.result import RunResult
from partkit.machine.environment import describe_environment, describe_gpus
from partkit.ranks.group import RankGroup, Ranks
from partkit.ranks.launch import left_over, started_by_launcher
from partkit.ranks.launched import is_one_host, take_part
from partkit.ranks.own_folder import own_folder
from partkit.ranks.run_options import RunOptions, job_of
from partkit.ranks.slurm import adopt_slurm
from partkit.runs.check import check_outputs, items_at_once, judged, make_reference, worse_of
from partkit.runs.measure import measure_group
from partkit.runs.record import record
from partkit.runs.run_result import result_of
from partkit.runs.run_warnings import warnings_of


def run_plan(plan: Plan, options: RunOptions | None = None, progress: Progress | None = None) -> RunResult | None:
    """Run a plan as the executor that it names and measure it.

    Under torchrun, or as a task of a Slurm step, every rank calls this; only rank 0 gets the result, the others None.
    Raises :class:`MachineError` where the plan's devices are missing and :class:`RankFailedError` when a rank dies.
    A failed check does not raise: ``result.check.passed`` is False.
    """
    adopt_slurm()
    options, tell = options or RunOptions(), progress or silent
    job = job_of(plan, plan.executor, options)
    if started_by_launcher():
        is_local = is_one_host()
        return take_part(job, lambda group: _drive(group, plan, options, tell, is_local=is_local), tell)
    if (note := left_over()) is not None:
        tell(note, 0, 4)
    with RankGroup(job) as own:
        return _drive(own, plan, options, tell, is_local=True)


def _drive(group: Ranks[RunJob], plan: Plan, options: RunOptions, tell: Progress, *, is_local: bool) -> RunResult:
    """The steps of a run, on ranks that are there; ``is_local``: all on this host, and so with its files."""
    with own_folder() as folder:
        reference = make_reference(group.job, folder, tell) if options.check else None
        if reference is not None and not is_local:
            group.call(CopyReference(reference=str(reference)))
        loaded = load_stages(group, folder, tell) if is_local else group.call(Load())
        return drive_loaded(group, plan, options, loaded, reference, tell)


def load_stages(group: Ranks[RunJob], folder: Path, tell: Progress) -> list[Loaded]:
    """Have ranks of this host load, and tell how many bytes of their weights are there; ``folder`` is a run's own."""
    stages = group.job.plan.stages
    total = sum(stage.param_bytes * len(stage.devices) for stage in stages)
    files = [ProgressFile(folder / f"loaded{rank}") for rank in range(group.job.num_ranks)]
    seen = [0] * len(files)

    def tell_bytes() -> None:
        for rank, file in enumerate(files):
            seen[rank] = (file.read() or (seen[rank], 0))[0]
        tell(BYTES_STEP, min(sum(seen), total), total)

    tell_bytes()
    loaded = group.call(Load(progress=f"{folder}/loaded"), while_waiting=tell_bytes)
    tell(BYTES_STEP, total, total)
    return loaded


def drive_loaded(
    group: Ranks[RunJob],
    plan: Plan,
    options: RunOptions,
    loaded: Sequence[Loaded],
    reference: Path | None,
    tell: Progress = silent,
) -> RunResult:
    """Check and measure ranks that have answered the order to load with ``loaded``."""
    if reference is not None:
        tell("Checking outputs", 0, 0)
    check = check_outputs(group, reference, at_once=items_at_once(loaded))
    measured = measure_group(group, options, reference, tell)
    check = worse_of(check, judged([run.sample for run in measured.runs], group.job))
    environment = group.call(DescribeEnvironment())[0].environment | {"command": describe_environment()["command"]}
    environment |= describe_gpus() if group.job.device == "cuda" else {}
    warnings = [*warnings_of(plan, group.job, measured), *itertools.chain(*(reply.warnings for reply in loaded))]
    warnings += check.warnings
    if options.rate_per_s is not None:
        warnings.append(f"items arrived at random, {options.rate_per_s:g} samples/s in the mean: see the latency only")
    notes = (*plan.model.notes, *itertools.chain(*(reply.notes for reply in loaded)))
    result = result_of(plan, group.job, loaded, check, measured, environment, warnings)
    if options.records:
        tell("Recording the timeline", 0, 0)
        recorded = record(group)
        result, notes = result.model_copy(update=recorded.fields), (*notes, recorded.told)
    return result.model_copy(update={"notes": notes})
