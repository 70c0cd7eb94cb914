"""The full table: every executor on BERT-base, fp32, batch 1, with and without peer access between GPUs.

    PYTHONPATH=.:cli python benchmarks/compare/main.py --out results [--device cpu --model bert-mini --quick]

Writes a JSON result a part and ``table.md`` into the folder of results.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.parts import Outcome, Part, run_parts
from partkit.machine import num_cuda_devices, resolve_device
from partkit.reports import render
from partkit.result import Comparison

EXECUTORS = (
    "single,single-graph,replicas,pipeline,split,dispatch,fsdp,fsdp-replicated,fsdp1,deepspeed,deepspeed-inject,tp,"
    "accelerate,torch-pipelining"
)
STREAMS = 8
"""Of deepspeed and fsdp1, as in the reference experiment."""
CPU_STAGES = 2


def main() -> None:
    options = _options()
    outcomes = run_parts(_parts(options), options.out, limit_s=options.limit)
    text = "\n".join(_section(outcome, options.out) for outcome in outcomes)
    (options.out / "table.md").write_text(text, encoding="utf-8")
    print(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--model", default="bert")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--stages", type=int, default=None, help="default: every GPU, or two on a CPU")
    parser.add_argument("--with", dest="executors", default=EXECUTORS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--limit", type=float, default=530, help="seconds for all parts together")
    return parser.parse_args()


def _parts(options: argparse.Namespace) -> Sequence[Part]:
    on_cuda = resolve_device(options.device) == "cuda"
    stages = options.stages or (num_cuda_devices() if on_cuda else CPU_STAGES)
    base = ["compare", options.model, "--stages", str(stages), "--device", "cuda" if on_cuda else "cpu"]
    base += ["--with", options.executors, *(["--quick"] if options.quick else ["--rounds", "9", "--seconds", "1"])]
    one_stream = Part("compare", tuple(base), limit_s=options.limit / 2)
    if not on_cuda:
        return [one_stream]
    no_peer = {"NCCL_P2P_DISABLE": "1"}
    many = ("compare", *base[1:6], "--with", "deepspeed,fsdp1", "--rounds", "5", "--streams", str(STREAMS))
    return [
        one_stream,
        Part("compare-no-p2p", tuple(base), settings=no_peer, limit_s=options.limit / 2),
        Part("compare-8-streams", many, limit_s=options.limit / 4),
    ]


def _section(outcome: Outcome, out: Path) -> str:
    heading = f"## `{outcome.command}`\n"
    if outcome.result is None:
        return f"{heading}\n{outcome.problem}\n"
    comparison = Comparison.load(out / outcome.result)
    return f"{heading}\n{render(comparison, 'markdown')}\n{_environment(comparison)}\n"


def _environment(comparison: Comparison) -> str:
    known = comparison.environment
    gpus = [gpu["name"] for gpu in known.get("gpus", [])]
    versions = ", ".join(f"{name} {version}" for name, version in known["versions"].items())
    told = [
        f"{len(gpus)} × {gpus[0]}, driver {known['driver']}, NCCL {known['nccl']}" if gpus else str(known["cpu"]),
        versions,
        f"{known['rounds']} rounds of {known['seconds_per_round']:g} s",
    ]
    return " · ".join(told) + "\n"


if __name__ == "__main__":
    main()
