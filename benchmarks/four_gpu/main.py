"""Four devices: every executor on BERT, GPT-2 and ViT, and plans of every quality beside what they promised.

    PYTHONPATH=.:cli python benchmarks/four_gpu/main.py --out results
    PYTHONPATH=.:cli python benchmarks/four_gpu/main.py --out results --device cpu --model bert-tiny

Starts nothing that would not end within 530 seconds; given again, it goes on with the parts that are missing. Writes a
JSON result per part and ``table.md`` into the folder of results. On fewer GPUs than stages, ranks share them: that
proves function, not speed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.side_by_side import Bench, Match, Run, comma_list
from partkit import PlanRequest, machine_cluster, parse_model, plan_as_asked
from partkit.data.plan import Plan
from partkit.data.result import Comparison, Row, RunResult
from partkit.machine.devices import num_cuda_devices, resolve_device
from partkit.ranks.run_options import RunOptions
from partkit.runs.compare import CompareOptions

EXECUTORS = "single-graph,replicas,pipeline,split,dispatch,fsdp,fsdp1,deepspeed,tp,accelerate,torch-pipelining"
NO_PEER = {"NCCL_P2P_DISABLE": "1"}
REFERENCE = {"deepspeed": 175.73, "fsdp1": 137.80, "dispatch": 29.34, "pipeline": 408.70}
"""Samples/s of the reference experiment (4 GPUs, PCIe gen1, no peer access; its pipeline was cut by hand)."""
QUALITIES = ("auto", "even", "by_params")
"""Planners whose plans are run beside each other."""


def main() -> None:
    options = _options()
    bench = Bench(options.out, options.limit)
    plans = _plans(bench, options)
    runs = bench.runs(list(_runs(plans, options)))
    matches = bench.matches(list(_matches(plans, options)))
    bench.write(
        "\n".join(
            [
                f"# {options.model} in {options.stages} stages on {options.gpus or options.stages} "
                f"{options.device} devices\n",
                *_plan_table(runs, bench.problems),
                *_compare_tables(matches),
            ]
        )
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--model", default="bert")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--stages", type=int, default=4)
    parser.add_argument("--with", dest="executors", type=comma_list, default=EXECUTORS)
    parser.add_argument(
        "--only", type=comma_list, default="", help="modes, separated by commas, as bert,bert-bf16; default: all"
    )
    parser.add_argument("--limit", type=float, default=530, help="seconds for all parts together")
    options = parser.parse_args()
    options.device = resolve_device(options.device)
    options.gpus = min(num_cuda_devices(), options.stages)
    return options


def _modes(options: argparse.Namespace) -> dict[str, tuple[str, dict[str, Any]]]:
    """Models and how they compute, by name, what matters most first."""
    model = options.model
    modes: dict[str, tuple[str, dict[str, Any]]] = {model: (model, {})}
    if options.device == "cuda":
        modes |= {
            f"{model}-bf16": (model, {"dtype": "bfloat16"}),
            f"{model}-batch8": (model, {"batch": 8}),
            f"{model}-bf16-batch8": (model, {"dtype": "bfloat16", "batch": 8}),
            "gpt2": ("gpt2", {}),
            "vit": ("vit", {}),
            "bert-large": ("bert-large", {}),
        }
    return {name: mode for name, mode in modes.items() if not options.only or name in options.only}


def _plans(bench: Bench, options: argparse.Namespace) -> dict[str, Plan]:
    """A plan of each mode, and the model's own by every planner of :data:`QUALITIES`."""
    specs = {f"profile-{name}": parse_model(model, **mode) for name, (model, mode) in _modes(options).items()}
    profiles = bench.profiles(specs, options.device, lambda: machine_cluster(options.stages, device=options.device))
    cluster = machine_cluster(options.stages, device=options.device)
    plans = {}
    for name, profile in profiles.items():
        mode = name.removeprefix("profile-")
        for planner in QUALITIES if mode == options.model else QUALITIES[:1]:
            request = PlanRequest(num_stages=options.stages, exact_num_stages=True, planner=planner)
            key = mode if planner == "auto" else f"{mode}-{planner}"
            with bench.noted(f"plan-{key}"):
                plans[key] = _folded(plan_as_asked(profile, cluster, request), options.gpus)
                plans[key].save(bench.out / f"plan-{key}.json")
    return plans


def _folded(plan: Plan, num_gpus: int) -> Plan:
    """The plan on ``num_gpus`` GPUs, where there are fewer than stages: ranks then share them."""
    if num_gpus == 0:
        return plan
    stages = (
        stage.model_copy(update={"devices": tuple(device % num_gpus for device in stage.devices)})
        for stage in plan.stages
    )
    return plan.model_copy(update={"stages": tuple(stages)})


def _matches(plans: Mapping[str, Plan], options: argparse.Namespace) -> Iterator[Match]:
    on_cuda = options.device == "cuda"
    choice = CompareOptions(
        executors=options.executors,
        rounds=3,
        seconds_per_round=0.4 if on_cuda else 1.0,
        device=options.device,
        quick=True,
        timeout_s=150,
    )
    modes = [mode for mode in _modes(options) if mode in plans and mode != "bert-large"]
    for mode in modes:
        yield Match(f"compare-{mode}", plans[mode], choice)
        if on_cuda and mode.startswith(options.model):
            yield Match(f"compare-{mode}-no-p2p", plans[mode], choice, NO_PEER)


def _runs(plans: Mapping[str, Plan], options: argparse.Namespace) -> Iterator[Run]:
    for name, plan in plans.items():
        yield Run(f"run-{name}", plan, RunOptions(device=options.device, seconds=2.0, timeout_s=120))


# --- the table --------------------------------------------------------------------------------------------------


def _plan_table(runs: Mapping[str, RunResult], problems: Mapping[str, str]) -> Iterator[str]:
    yield "| plan | steady samples/s | prediction error | bottleneck efficiency | stage ms | max diff |"
    yield "|---|---:|---:|---:|---|---:|"
    for name, run in runs.items():
        stages = ", ".join(f"{stage.measured_s * 1e3:.3g}" for stage in run.stages)
        yield (
            f"| {name.removeprefix('run-')} | {run.steady_samples_per_s:.4g} | {_number(run.prediction_error)} | "
            f"{_number(run.bottleneck_efficiency)} | {stages} | {_number(run.check.max_abs_diff)} |"
        )
    for name, problem in problems.items():
        yield f"| {name} | {problem} | | | | |"
    yield ""


def _compare_tables(matches: Mapping[str, Comparison]) -> Iterator[str]:
    for name, comparison in matches.items():
        yield f"## {name}\n"
        yield from _rows(comparison.rows)
        yield f"\n{comparison.verdict.text}\n"


def _rows(rows: Sequence[Row]) -> Iterator[str]:
    """Rates, and their ratios to DeepSpeed's beside the reference experiment's."""
    base = next((row.samples_per_s for row in rows if row.executor == "deepspeed"), None)
    yield "| executor | samples/s | 95% interval | to deepspeed | reference's | GPU max | max diff | remark |"
    yield "|---|---:|---:|---:|---:|---|---:|---|"
    for row in rows:
        interval = " to ".join(f"{end:.4g}" for end in row.ci95 or ())
        ratio = row.samples_per_s / base if row.samples_per_s and base else None
        known = REFERENCE[row.executor] / REFERENCE["deepspeed"] if row.executor in REFERENCE else None
        use = ", ".join(f"{value:.0f}" for value in row.gpu_util_max)
        remark = "; ".join(text for text in (row.status if row.status != "ok" else None, row.reason, row.note) if text)
        cells = [row.executor, _number(row.samples_per_s), interval, _number(ratio), _number(known), use]
        yield f"| {' | '.join([*cells, _number(row.max_abs_diff), remark])} |"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


if __name__ == "__main__":
    main()
