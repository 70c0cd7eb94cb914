"""The full table: every executor on BERT-base, fp32, batch 1, with and without peer access between GPUs.

    PYTHONPATH=.:cli python benchmarks/compare/main.py --out results [--device cpu --model bert-mini --quick]

Writes a JSON result per comparison and ``table.md`` into the folder of results; what is there already is kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.pipeline.main import HAND_WRITTEN, NO_PEER
from benchmarks.side_by_side import Bench, Match, comma_list
from partkit import PlanRequest, machine_cluster, parse_model, plan_as_asked
from partkit.data.plan import Plan
from partkit.data.result import Comparison
from partkit.machine.devices import num_cuda_devices, resolve_device
from partkit.reports import render
from partkit.runs.compare import CompareOptions

EXECUTORS = (
    f"single,single-graph,replicas,pipeline,pipeline-nccl,split,{HAND_WRITTEN},dispatch,fsdp,fsdp-replicated,fsdp1,"
    "deepspeed,deepspeed-inject,tp,accelerate,torch-pipelining"
)
CPU_STAGES = 2


def main() -> None:
    options = _options()
    bench = Bench(options.out, options.limit)
    plan = _plan(bench, options)
    results = bench.matches(list(_matches(plan, options)))
    sections = [_section(name, comparison) for name, comparison in results.items()]
    bench.write("\n".join([*sections, *(f"{name}: {problem}\n" for name, problem in bench.problems.items())]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--model", default="bert")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--stages", type=int, default=None, help="default: every GPU, or two on a CPU")
    parser.add_argument("--with", dest="executors", type=comma_list, default=EXECUTORS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.6, help="of each executor's turn")
    parser.add_argument("--streams", type=int, default=8, help="of deepspeed and fsdp1 in a comparison of their own")
    parser.add_argument("--quick", action="store_true", help="two short rounds")
    parser.add_argument("--limit", type=float, default=530, help="seconds for all together")
    options = parser.parse_args()
    options.device = resolve_device(options.device)
    options.stages = options.stages or (num_cuda_devices() if options.device == "cuda" else CPU_STAGES)
    return options


def _plan(bench: Bench, options: argparse.Namespace) -> Plan:
    name = f"profile-{options.model}"
    specs = {name: parse_model(options.model)}
    profiles = bench.profiles(specs, options.device, lambda: machine_cluster(options.stages, device=options.device))
    cluster = machine_cluster(options.stages, device=options.device)
    return plan_as_asked(profiles[name], cluster, PlanRequest(num_stages=options.stages, exact_num_stages=True))


def _matches(plan: Plan, options: argparse.Namespace) -> Iterator[Match]:
    choice = CompareOptions(
        executors=options.executors,
        rounds=2 if options.quick else options.rounds,
        seconds_per_round=options.seconds,
        device=options.device,
        allow_code=True,
        quick=options.quick,
        timeout_s=90,
    )
    yield Match(f"compare-{options.model}", plan, choice)
    if options.device == "cuda":
        yield Match(f"compare-{options.model}-no-p2p", plan, choice, NO_PEER)
        if options.streams > 1:
            streams = replace(choice, executors=("deepspeed", "fsdp1"), streams=options.streams)
            yield Match(f"compare-{options.model}-{options.streams}-streams", plan, streams)


def _section(name: str, comparison: Comparison) -> str:
    return f"## {name}\n\n{render(comparison, 'markdown')}\n{_environment(comparison)}\n"


def _environment(comparison: Comparison) -> str:
    known = comparison.environment
    gpus = [gpu["name"] for gpu in known.get("gpus", [])]
    versions = ", ".join(f"{name} {version}" for name, version in known["versions"].items())
    settings = ", ".join(f"{name}={value}" for name, value in known.get("nccl_settings", {}).items())
    told = [
        f"{len(gpus)} × {gpus[0]}, driver {known['driver']}, NCCL {known['nccl']}" if gpus else str(known["cpu"]),
        versions,
        *([settings] if settings else []),
        f"{known['rounds']} rounds of {known['seconds_per_round']:g} s",
    ]
    return " · ".join(told) + "\n"


if __name__ == "__main__":
    main()
