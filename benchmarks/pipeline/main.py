"""The pipeline on two GPUs: efficiency, prediction, and ratios to what else one would do.

    PYTHONPATH=.:cli python benchmarks/pipeline/main.py --out results [--device cpu --model bert-tiny]

Runs plans of two stages, each output checked, with and without NCCL_P2P_DISABLE=1, over copy engines and over NCCL, and
100,000 items in a row; then, with --ratios, compares with the hand-written pipeline, one GPU with a CUDA graph and
replicas in interleaved rounds. Results that are there are kept: give the command again for what is missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.side_by_side import Bench, Match, Run, comma_list
from partkit import PlanRequest, machine_cluster, plan_as_asked
from partkit.data.model import ModelSpec
from partkit.data.plan import Plan
from partkit.data.result import Comparison, RunResult
from partkit.machine.devices import resolve_device
from partkit.models.sources import parse_model
from partkit.ranks.run_options import RunOptions
from partkit.runs.compare import CompareOptions

HAND_WRITTEN = "benchmarks.pipeline.handwritten:HandWritten"
RIVALS = ("pipeline", "pipeline-nccl", "split", "single-graph", "replicas", HAND_WRITTEN)
NO_PEER = {"NCCL_P2P_DISABLE": "1"}
MANY = 100_000
SMALL = "bert-mini"
"""A model whose stages take the device less time than the host takes to launch them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--model", default="bert")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--ratios", action="store_true", help="also compare with other ways to run the model")
    parser.add_argument("--only", type=comma_list, default="", help="names of runs, separated by commas; default: all")
    parser.add_argument("--limit", type=float, default=530, help="seconds for all together")
    options = parser.parse_args()
    options.device = resolve_device(options.device)
    bench = Bench(options.out, options.limit)
    plans = _plans(bench, options)
    wanted = [f"run-{name}" for name in options.only]
    results = bench.runs([run for run in _runs(plans, options) if not wanted or run.name in wanted])
    matches = bench.matches(list(_matches(plans, options))) if options.ratios else {}
    bench.write("\n".join([*_run_table(results, bench.problems), *_ratio_tables(matches)]))


def _cases(options: argparse.Namespace) -> Mapping[str, tuple[str, dict[str, Any]]]:
    """Model and how it computes, by name."""
    model = options.model
    cases: dict[str, tuple[str, dict[str, Any]]] = {model: (model, {})}
    if options.device == "cuda":
        cases |= {
            f"{model}-bf16": (model, {"dtype": "bfloat16"}),
            f"{model}-tf32": (model, {"tf32": True}),
            f"{model}-batch8": (model, {"batch": 8}),
            "gpt2": ("gpt2", {}),
            "vit": ("vit", {}),
            SMALL: (SMALL, {}),
        }
    return cases


def _plans(bench: Bench, options: argparse.Namespace) -> dict[str, Plan]:
    """Plans of two stages, made from profiles measured here; the links are measured while models are captured."""
    cases = _cases(options)
    specs = {f"profile-{name}": _spec(model, **mode) for name, (model, mode) in cases.items()}
    profiles = bench.profiles(specs, options.device, lambda: machine_cluster(2, device=options.device))
    cluster = machine_cluster(2, device=options.device)
    plans = {}
    for name, profile in profiles.items():
        plan = plan_as_asked(profile, cluster, PlanRequest(num_stages=2))
        plan.save(bench.out / f"plan-{name.removeprefix('profile-')}.json")
        plans[name.removeprefix("profile-")] = plan
    return plans


def _spec(model: str, *, tf32: bool = False, **options: Any) -> ModelSpec:
    return parse_model(model, **options).model_copy(update={"tf32": tf32})


def _runs(plans: Mapping[str, Plan], options: argparse.Namespace) -> Iterator[Run]:
    """What matters most first."""
    usual = RunOptions(device=options.device, seconds=options.seconds, timeout_s=120)
    for name, plan in plans.items():
        yield Run(f"run-{name}", plan, usual)
    if options.device == "cpu":
        return
    yield Run(f"run-{options.model}-no-p2p", plans[options.model], usual, NO_PEER)
    short = f"{options.model}-bf16"
    yield Run(f"run-{short}-no-p2p", plans[short], usual, NO_PEER)
    yield Run(f"run-{short}-{MANY}-items", plans[short], replace(usual, items=MANY))
    yield Run(f"run-{short}-loop-graph", plans[short], replace(usual, loop_graph="on"))
    yield Run(f"run-{SMALL}-no-loop-graph", plans[SMALL], replace(usual, loop_graph="off"))
    for executor in ("split", "pipeline-nccl"):
        for name in (options.model, short):
            yield Run(f"run-{name}-{executor}", plans[name].model_copy(update={"executor": executor}), usual)


def _matches(plans: Mapping[str, Plan], options: argparse.Namespace) -> Iterator[Match]:
    seconds = 0.6 if options.device == "cuda" else 2.0
    choice = CompareOptions(
        executors=RIVALS, rounds=5, seconds_per_round=seconds, device=options.device, allow_code=True
    )
    yield Match(f"compare-{options.model}", plans[options.model], choice)
    if options.device == "cuda":
        yield Match(f"compare-{options.model}-no-p2p", plans[options.model], choice, NO_PEER)


# --- the tables -------------------------------------------------------------------------------------------------


def _run_table(results: Mapping[str, RunResult], problems: Mapping[str, str]) -> Iterator[str]:
    yield (
        "| run | items | steady samples/s | bottleneck efficiency | prediction error | stages ms | latency p50 ms | "
        "GPU peak MB | host peak MB | max diff |"
    )
    yield "|---|---:|---:|---:|---:|---|---:|---|---|---:|"
    for name, run in results.items():
        peaks = ", ".join(f"{use.peak_bytes / 1e6:.0f}" for use in run.ranks)
        hosts = ", ".join(f"{use.host_peak_bytes / 1e6:.0f}" for use in run.ranks)
        stages = ", ".join(f"{stage.measured_s * 1e3:.4g}" for stage in run.stages)
        efficiency = "–" if run.bottleneck_efficiency is None else f"{run.bottleneck_efficiency:.3f}"
        yield (
            f"| {name.removeprefix('run-')} | {run.items} | {run.steady_samples_per_s:.5g} | {efficiency} | "
            f"{run.prediction_error:.3f} | {stages} | {run.latency_s.p50 * 1e3:.4g} | {peaks} | {hosts} | "
            f"{run.check.max_abs_diff} |"
        )
    for name, problem in problems.items():
        yield f"| {name.removeprefix('run-')} | {problem} | | | | | | | | |"
    yield ""


def _ratio_tables(matches: Mapping[str, Comparison]) -> Iterator[str]:
    """Samples/s of every rival, and how many times that the pipeline reaches."""
    for name, comparison in matches.items():
        yield f"## {name}\n"
        pipeline = next((row.samples_per_s for row in comparison.rows if row.executor == "pipeline"), None)
        yield "| executor | status | samples/s | 95% interval | pipeline is | latency p50 ms | max diff |"
        yield "|---|---|---:|---|---:|---:|---:|"
        for row in comparison.rows:
            ratio = f"{pipeline / row.samples_per_s:.3f}x" if pipeline and row.samples_per_s else ""
            rate = f"{row.samples_per_s:.4g}" if row.samples_per_s else row.reason
            interval = " to ".join(f"{end:.4g}" for end in row.ci95 or ())
            latency = f"{row.latency_p50_s * 1e3:.3f}" if row.latency_p50_s else ""
            yield (
                f"| {row.executor} | {row.status} | {rate} | {interval} | {ratio} | {latency} | {row.max_abs_diff} |"
            )
        yield ""


if __name__ == "__main__":
    main()
