"""``run --find-rate``, and ``run --rate`` with microbatches: a plan served as a program would, its latency told."""

from __future__ import annotations

import math
from collections.abc import Sequence

from partkit.data.job import NUM_INPUTS
from partkit.data.plan import Plan
from partkit.data.progress import Progress, silent
from partkit.data.result import Check, Latency, RunResult
from partkit.data.units import format_count, format_rate, format_seconds
from partkit.machine.environment import describe_environment
from partkit.models.of_job import item_inputs
from partkit.models.sources import load_model
from partkit.ranks.run_options import RunOptions
from partkit.runs.load import FEWEST, Item, Trial, find_rate, serve_at
from partkit.runs.open_pipeline import open_pipeline
from partkit.runs.statistics import percentile

_SECONDS = 5.0
"""Of each trial."""


def run_under_load(
    plan: Plan,
    options: RunOptions,
    *,
    samples: int,
    max_latency_s: float | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Serve items of ``samples`` samples that arrive at random: at ``options.rate_per_s``, or at the highest rate whose
    99th percentile of latency is at most ``max_latency_s``. Raises :class:`InfeasibleError` where no rate holds."""
    tell, seconds = progress or silent, options.seconds or _SECONDS
    tell("Loading stages", 0, 0)
    with open_pipeline(
        plan,
        device=options.device,
        threads=options.threads,
        devices=options.devices,
        outputs=(),
        allow_code=options.allow_code,
        timeout_s=options.timeout_s,
    ) as pipeline:
        items = _items(plan, options, samples)
        if max_latency_s is not None:
            trials = find_rate(pipeline, items, max_latency_s, seconds, tell)
        else:
            assert options.rate_per_s is not None, "neither a rate nor a bound to find one"
            rate = options.rate_per_s / samples
            tell("Serving items", 0, 0)
            trials = [serve_at(pipeline, items, rate, options.items or math.ceil(rate * seconds), math.inf)]
        lanes = pipeline.num_lanes
    return _result(plan, trials, samples, lanes, max_latency_s)


def _items(plan: Plan, options: RunOptions, samples: int) -> list[Item]:
    """Distinct synthetic items, each of as many samples as one of a program's."""
    loaded = load_model(plan.model, allow_code=options.allow_code)
    varies = {"batch": samples} if "batch" in plan.model.sizes else {}
    fed = plan.model.resized({**options.sizes, **varies})
    names = [spec.name for spec in fed.inputs]
    return [dict(zip(names, item_inputs(fed, n, NUM_INPUTS, loaded), strict=True)) for n in range(NUM_INPUTS)]


def _result(plan: Plan, trials: Sequence[Trial], samples: int, lanes: int, max_latency_s: float | None) -> RunResult:
    last = trials[-1]
    p50, p95, p99 = (percentile(last.latencies_s, share) for share in (0.5, 0.95, 0.99))
    count = len(last.latencies_s)
    notes = [f"trial: {trial}" for trial in trials]
    warnings = []
    if max_latency_s is not None:
        notes.append(
            f"the highest rate found whose p99 is at most {format_seconds(max_latency_s)}, with 99% confidence: "
            f"{format_rate(last.rate_per_s * samples)} samples/s, {last.num_late} of {format_count(count)} items late"
        )
    elif count < FEWEST:
        warnings.append(f"latency_s.p99 rests on {count} items: {FEWEST} tell it with 99% confidence")
    return RunResult(
        executor="pipeline",
        samples_per_s=(last.rate_per_s if max_latency_s is not None else last.served_per_s) * samples,
        steady_samples_per_s=last.served_per_s * samples,
        latency_s=Latency(p50=p50, p95=p95, p99=p99),
        items=count,
        batch=samples,
        lanes=lanes,
        microbatch=plan.microbatch,
        max_latency_s=max_latency_s,
        check=Check(max_abs_diff=None, tolerance=0.0, passed=None),
        environment=describe_environment(),
        warnings=tuple(warnings),
        notes=tuple(notes),
    )
