"""Run several executors side by side, in turns, outputs checked, and say which to use.

All groups are loaded before the first round and take turns in random order within each round, so that whatever
the machine does meanwhile falls on all of them alike:

    round 1   pipeline  single    fsdp      dispatch
    round 2   fsdp      pipeline  dispatch  single
"""

from __future__ import annotations

import contextlib
import math
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from partkit.errors import PartkitError
from partkit.executors import require_executor
from partkit.launch import Reply, WorkerGroup
from partkit.measure import bootstrap_ci95, describe_environment, percentile
from partkit.plan import Plan
from partkit.progress import Progress, silent
from partkit.result import Check, Comparison, Row
from partkit.runner import RunOptions, check_outputs, job_of, latencies, make_reference, overall_rate
from partkit.verdict import conclude

DEFAULT_EXECUTORS = ("single", "pipeline", "dispatch", "fsdp")
_WARM_ITEMS = 4
_MIN_ITEMS = 16
"""Enough that filling the pipeline is a small part of a round."""
_LATENCY_ITEMS = 3


@dataclass(frozen=True)
class CompareOptions:
    """What to compare and for how long."""

    executors: tuple[str, ...] = DEFAULT_EXECUTORS
    rounds: int = 5
    seconds_per_round: float = 4.0
    device: str = "auto"
    threads: int | None = None
    allow_code: bool = False
    quick: bool = False
    """Label the result as one of few and short rounds."""
    seed: int = 0
    """Of the order of turns."""


@dataclass
class Contender:
    """One executor in the comparison and what has been seen of it so far."""

    name: str
    group: WorkerGroup | None = None
    status: str = "ok"
    reason: str | None = None
    check: Check | None = None
    items: int = _MIN_ITEMS
    data_parallel: bool = False
    rates: list[float] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    runs: list[Reply] = field(default_factory=list)


def compare_executors(
    plan: Plan, options: CompareOptions | None = None, progress: Progress | None = None
) -> Comparison:
    """Measure each executor on the plan's model and devices.

    An executor that fails, hangs or gives wrong outputs becomes a row that says so and spoils no other.
    Raises :class:`UsageError` for an unknown executor before anything is started.
    """
    options, tell = options or CompareOptions(), progress or silent
    for name in options.executors:
        require_executor(name)
    rounds, seconds = options.rounds, options.seconds_per_round
    run_options = RunOptions(device=options.device, threads=options.threads, allow_code=options.allow_code)
    contenders = [Contender(name) for name in options.executors]
    with contextlib.ExitStack() as stack:
        reference = make_reference(job_of(plan, "single", run_options), silent)
        for done, contender in enumerate(contenders):
            tell(f"Loading {contender.name}", done, len(contenders))
            _prepare(contender, plan, run_options, reference, seconds, stack)
        for number in range(rounds):
            tell("Comparing", number, rounds)
            _round(contenders, random.Random(options.seed * 1000 + number))
        tell("Comparing", rounds, rounds)
    return _comparison(plan, contenders, rounds, options)


# --- measuring ----------------------------------------------------------------------------------------------


def _prepare(
    contender: Contender,
    plan: Plan,
    run_options: RunOptions,
    reference: Path,
    seconds: float,
    stack: contextlib.ExitStack,
) -> None:
    """Start, load, check and warm up one executor; its round is sized to ``seconds``."""
    with _failures_noted(contender):
        group = stack.enter_context(WorkerGroup(job_of(plan, contender.name, run_options)))
        contender.group = group
        contender.data_parallel = group.call("load")[0]["data_parallel"]
        contender.check = check_outputs(group, reference)
        if not contender.check.passed:
            contender.status = "invalid"
            contender.reason = _difference(contender.check)
        rate = overall_rate(group.call("run", items=_WARM_ITEMS), group.job)[0] / plan.model.batch
        share = group.job.num_ranks if contender.data_parallel else 1
        contender.items = math.ceil(max(_MIN_ITEMS, rate * seconds) / share)


def _round(contenders: Sequence[Contender], order: random.Random) -> None:
    for contender in order.sample(list(contenders), len(contenders)):
        if contender.group is None or contender.status == "failed":
            continue
        with _failures_noted(contender):
            runs = contender.group.call("run", items=contender.items)
            contender.rates.append(overall_rate(runs, contender.group.job)[0])
            contender.runs.extend(runs)
            single = contender.group.call("run", items=_LATENCY_ITEMS, one_at_a_time=True)
            contender.latencies_s.extend(latencies(single))


@contextlib.contextmanager
def _failures_noted(contender: Contender) -> Iterator[None]:
    try:
        yield
    except PartkitError as error:
        contender.status, contender.reason = "failed", str(error)
        if contender.group is not None:
            contender.group.close()


def _difference(check: Check) -> str:
    if check.max_abs_diff is None:
        return "its outputs are not finite or not of the reference's shapes"
    return f"its outputs differ by {check.max_abs_diff:.2g}, and {check.tolerance:.2g} is allowed"


# --- the result ---------------------------------------------------------------------------------------------


def _comparison(plan: Plan, contenders: Sequence[Contender], rounds: int, options: CompareOptions) -> Comparison:
    rows = tuple(_row(contender) for contender in contenders)
    reasons = [f"{row.executor}: {row.reason}" for row in rows if row.status == "invalid"]
    if not any(row.status == "ok" for row in rows):
        reasons.append("no executor ran")
    environment = describe_environment() | {
        "rounds": rounds,
        "quick": options.quick,
        "device": plan.cluster.devices[0].type if options.device == "auto" else options.device,
        "threads_per_rank": next((c.group.job.threads for c in contenders if c.group is not None), None),
    }
    num_devices = sum(len(stage.devices) for stage in plan.stages)
    return Comparison(
        valid=not reasons,
        reasons=tuple(reasons),
        model=plan.model,
        devices=num_devices,
        rows=rows,
        verdict=conclude(rows, num_devices),
        environment=environment,
    )


def _row(contender: Contender) -> Row:
    if not contender.rates:
        return Row(executor=contender.name, status="failed", reason=contender.reason)
    group = contender.group
    assert group is not None
    num_ranks = group.job.num_ranks
    rate = statistics.median(contender.rates)
    by_rank = [contender.runs[rank::num_ranks] for rank in range(num_ranks)]
    return Row(
        executor=contender.name,
        status=contender.status,  # type: ignore[arg-type]
        reason=contender.reason,
        samples_per_s=rate,
        ci95=bootstrap_ci95(contender.rates),
        per_rank_samples_per_s=rate / num_ranks if contender.data_parallel else None,
        latency_p50_s=percentile(contender.latencies_s, 0.5) if contender.latencies_s else None,
        gpu_util_max=_known(max(_values(runs, "gpu_util_max"), default=None) for runs in by_rank),
        gpu_util_mean=_known(_mean(_values(runs, "gpu_util_mean")) for runs in by_rank),
        peak_bytes=tuple(max(run["peak_bytes"] for run in runs) for runs in by_rank),
        max_abs_diff=contender.check.max_abs_diff if contender.check is not None else None,
    )


def _values(runs: Sequence[Reply], key: str) -> list[float]:
    return [run[key] for run in runs if run[key] is not None]


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _known(values: Iterator[float | None]) -> tuple[float, ...]:
    return tuple(value for value in values if value is not None)
