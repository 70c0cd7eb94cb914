"""The pipeline on two GPUs: efficiency, prediction, and ratios to what else one would do.

    PYTHONPATH=.:cli python benchmarks/pipeline/main.py --out results [--device cpu --model bert-tiny]

Runs plans of two stages by themselves, with and without NCCL_P2P_DISABLE=1, then compares, in interleaved rounds, with
the hand-written pipeline, one GPU with a CUDA graph, and replicas. Finished parts are kept: give the command again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.parts import Outcome, Part, run_parts
from partkit.machine import resolve_device
from partkit.result import Comparison, RunResult

HAND_WRITTEN = "benchmarks.pipeline.handwritten:HandWritten"
RIVALS = f"pipeline,split,single-graph,replicas,{HAND_WRITTEN}"
NO_PEER = {"NCCL_P2P_DISABLE": "1"}
CASES: dict[str, tuple[str, ...]] = {
    "fp32": (),
    "bf16": ("--dtype", "bfloat16"),
    "tf32": ("--tf32",),
    "batch8": ("--batch", "8"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--model", default="bert")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--limit", type=float, default=530, help="seconds for all parts together")
    options = parser.parse_args()
    options.device = resolve_device(options.device)
    outcomes = run_parts(list(_parts(options)), options.out, limit_s=options.limit)
    text = "\n".join([*_run_table(outcomes, options.out), *_ratio_table(outcomes, options.out)])
    (options.out / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def _parts(options: argparse.Namespace) -> Iterator[Part]:
    """What matters most first."""
    on_cuda = options.device == "cuda"
    yield from _plan_and_run(options, options.model, "fp32", with_no_peer=on_cuda)
    yield _compare(options, "compare-fp32", {})
    if not on_cuda:
        return
    yield _compare(options, "compare-fp32-no-p2p", NO_PEER)
    for name in ("bf16", "tf32", "batch8"):
        yield from _plan_and_run(options, options.model, name, with_no_peer=False)
    for model in ("gpt2", "vit"):
        yield from _plan_and_run(options, model, "fp32", with_no_peer=False)
    many = ("run", f"{{out}}/plan-{options.model}-bf16.json", "--items", "100000", "--device", "cuda")
    yield Part(f"run-{options.model}-bf16-100000-items", many, limit_s=240)


def _plan_and_run(options: argparse.Namespace, model: str, case: str, *, with_no_peer: bool) -> Iterator[Part]:
    label = f"{model}-{case}"
    where = ("--device", options.device)
    yield Part(f"plan-{label}", ("plan", model, "--stages", "2", *CASES[case], *where), limit_s=90)
    run = ("run", f"{{out}}/plan-{label}.json", *where, "--seconds", "4")
    yield Part(f"run-{label}", run, limit_s=120)
    if with_no_peer:
        yield Part(f"run-{label}-no-p2p", run, settings=NO_PEER, limit_s=120)


def _compare(options: argparse.Namespace, name: str, settings: dict[str, str]) -> Part:
    plan = f"{{out}}/plan-{options.model}-fp32.json"
    length = ("--rounds", "7", "--seconds", "1") if options.device == "cuda" else ("--quick",)
    arguments = ("compare", plan, "--device", options.device, "--allow-code", "--with", RIVALS, *length)
    return Part(name, arguments, settings=settings, limit_s=240)


# --- the tables -------------------------------------------------------------------------------------------------


def _run_table(outcomes: Sequence[Outcome], out: Path) -> Iterator[str]:
    yield "| run | steady samples/s | bottleneck efficiency | prediction error | latency p50 ms | peak MB | max diff |"
    yield "|---|---:|---:|---:|---:|---|---:|"
    for outcome in outcomes:
        if not outcome.name.startswith("run-"):
            continue
        if outcome.result is None:
            yield f"| {outcome.name[4:]} | {outcome.problem} | | | | | |"
            continue
        run = RunResult.load(out / outcome.result)
        peaks = ", ".join(f"{use.peak_bytes / 1e6:.0f}" for use in run.ranks)
        yield (
            f"| {outcome.name[4:]} | {run.steady_samples_per_s:.4g} | {run.bottleneck_efficiency:.3f} | "
            f"{run.prediction_error:.3f} | {run.latency_s.p50 * 1e3:.3f} | {peaks} | {run.check.max_abs_diff} |"
        )
    yield ""


def _ratio_table(outcomes: Sequence[Outcome], out: Path) -> Iterator[str]:
    """Samples/s of every rival, and how many times that the pipeline reaches."""
    for outcome in outcomes:
        if not outcome.name.startswith("compare"):
            continue
        yield f"## `{outcome.command}`\n"
        if outcome.result is None:
            yield f"{outcome.problem}\n"
            continue
        rows = Comparison.load(out / outcome.result).rows
        pipeline = next((row.samples_per_s for row in rows if row.executor == "pipeline"), None)
        yield "| executor | status | samples/s | pipeline is | latency p50 ms | max diff |"
        yield "|---|---|---:|---:|---:|---:|"
        for row in rows:
            ratio = f"{pipeline / row.samples_per_s:.3f}x" if pipeline and row.samples_per_s else ""
            rate = f"{row.samples_per_s:.4g}" if row.samples_per_s else row.reason
            latency = f"{row.latency_p50_s * 1e3:.3f}" if row.latency_p50_s else ""
            yield f"| {row.executor} | {row.status} | {rate} | {ratio} | {latency} | {row.max_abs_diff} |"
        yield ""


if __name__ == "__main__":
    main()
