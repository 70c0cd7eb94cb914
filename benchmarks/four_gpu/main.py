"""Four devices: every executor on BERT, GPT-2 and ViT, and plans of every quality beside what they promised.

    PYTHONPATH=.:cli python benchmarks/four_gpu/main.py --out results
    PYTHONPATH=.:cli python benchmarks/four_gpu/main.py --out results --device cpu --model bert-tiny

Stops after 530 seconds; given again, it goes on with the parts that are missing. Writes a JSON result a part,
``outcomes.json`` and ``table.md`` into the folder of results.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.parts import Outcome, Part, run_parts
from partkit.machine import resolve_device
from partkit.result import Comparison, Row, RunResult

EXECUTORS = "single-graph,replicas,pipeline,split,dispatch,fsdp,fsdp1,deepspeed,tp,accelerate,torch-pipelining"
ON_LINKS = "pipeline,fsdp,fsdp1,deepspeed,tp,torch-pipelining"
"""Executors that send over NCCL, and so depend on peer access."""
PLANNERS = ("auto", "even", "by_params")
NO_PEER = {"NCCL_P2P_DISABLE": "1"}
REFERENCE = {"deepspeed": 175.73, "fsdp1": 137.80, "dispatch": 29.34, "pipeline": 408.70}
"""Samples/s of the reference experiment (4 GPUs, PCIe gen1, no peer access; its pipeline was cut by hand)."""


def main() -> None:
    options = _options()
    parts = list(_parts(options))
    outcomes = run_parts(parts, options.out, limit_s=options.limit)
    text = "\n".join(
        [
            f"# {options.model} on {options.stages} {options.device} devices\n",
            *_plan_table([each for each in outcomes if each.name.startswith("run-")], options.out),
            *_compare_tables([each for each in outcomes if each.name.startswith("compare-")], options.out),
        ]
    )
    (options.out / "table.md").write_text(text, encoding="utf-8")
    print(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--model", default="bert")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--stages", type=int, default=4)
    parser.add_argument("--with", dest="executors", default=EXECUTORS)
    parser.add_argument("--limit", type=float, default=530, help="seconds for all parts together")
    options = parser.parse_args()
    options.device = resolve_device(options.device)
    return options


def _parts(options: argparse.Namespace) -> Iterator[Part]:
    """The parts, what matters most first."""
    model = options.model
    yield _compare(options, model)
    if options.device == "cuda":
        yield _compare(options, model, executors=ON_LINKS, settings=NO_PEER)
    for planner in PLANNERS:
        yield from _plan_and_run(options, model, planner)
    if options.device == "cpu":
        return
    yield _compare(options, model, "--dtype", "bfloat16")
    yield _compare(options, model, "--batch", "8")
    yield _compare(options, model, "--dtype", "bfloat16", "--batch", "8")
    for other in ("gpt2", "vit"):
        yield _compare(options, other)
        yield from _plan_and_run(options, other, "auto")
    yield from _plan_and_run(options, "bert-large", "auto")
    for more in (("--dtype", "bfloat16"), ("--batch", "8"), ("--dtype", "bfloat16", "--batch", "8")):
        yield _compare(options, model, *more, executors=ON_LINKS, settings=NO_PEER)


def _compare(
    options: argparse.Namespace,
    model: str,
    *more: str,
    executors: str | None = None,
    settings: dict[str, str] | None = None,
) -> Part:
    name = "-".join(["compare", model, *more[1::2], *(["no-p2p"] if settings else [])])
    length = ("--rounds", "5", "--seconds", "0.5") if options.device == "cuda" else ("--quick",)
    arguments = ("compare", model, *more, *_where(options), "--with", executors or options.executors, *length)
    return Part(name, arguments, settings=settings or {}, limit_s=240)


def _plan_and_run(options: argparse.Namespace, model: str, planner: str) -> Iterator[Part]:
    plan = f"plan-{model}-{planner}"
    yield Part(plan, ("plan", model, *_where(options), "--planner", planner), limit_s=60)
    run = ("run", f"{{out}}/{plan}.json", "--device", options.device, "--seconds", "3")
    yield Part(f"run-{model}-{planner}", run, limit_s=90)


def _where(options: argparse.Namespace) -> tuple[str, ...]:
    return ("--stages", str(options.stages), "--device", options.device)


# --- the table --------------------------------------------------------------------------------------------------


def _plan_table(outcomes: Sequence[Outcome], out: Path) -> Iterator[str]:
    yield "| plan | steady samples/s | prediction error | bottleneck efficiency | stage ms | max diff |"
    yield "|---|---:|---:|---:|---|---:|"
    for outcome in outcomes:
        name = outcome.name.removeprefix("run-")
        if outcome.result is None:
            yield f"| {name} | {outcome.problem} | | | | |"
            continue
        run = RunResult.load(out / outcome.result)
        stages = ", ".join(f"{stage.measured_s * 1e3:.3g}" for stage in run.stages)
        yield (
            f"| {name} | {run.steady_samples_per_s:.4g} | {_number(run.prediction_error)} | "
            f"{_number(run.bottleneck_efficiency)} | {stages} | {_number(run.check.max_abs_diff)} |"
        )
    yield ""


def _compare_tables(outcomes: Sequence[Outcome], out: Path) -> Iterator[str]:
    for outcome in outcomes:
        yield f"## `{outcome.command}`\n"
        if outcome.result is None:
            yield f"{outcome.problem}\n"
            continue
        comparison = Comparison.load(out / outcome.result)
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
