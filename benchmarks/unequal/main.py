"""Unequal devices made of equal ones: partkit's plan against even layers and a split in proportion to memory.

    PYTHONPATH=.:cli python benchmarks/unequal/main.py --out results --pairs cpu --threads 1,3      # 4 cores or more
    PYTHONPATH=.:cli python benchmarks/unequal/main.py --out results --pairs memory,share           # two GPUs

    cpu      two CPU ranks with different numbers of threads
    memory   two GPUs, another process holding most of the second one's memory
    share    two GPUs, another process computing on the second one all the time

Each plan is run with its outputs checked. Writes a JSON result per plan and ``table.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from partkit import PlanRequest, RunOptions, machine_cluster, make_plan, parse_model, profile_model, run_plan
from partkit.data.cluster import Cluster
from partkit.data.plan import Plan
from partkit.data.profile import Profile
from partkit.data.result import RunResult
from partkit.errors import PartkitError
from partkit.runs.device_speeds import with_measured_speeds
from partkit.runs.tune import plan_by_measuring

SPLITS = ("auto", "even", "by_memory")
_HOLD = """
import sys, time, torch
torch.cuda.set_device(1)
free, total = torch.cuda.mem_get_info()
held = torch.empty(max(0, free - int(float(sys.argv[1]) * 1e9)), dtype=torch.uint8, device="cuda")
torch.cuda.synchronize()
print("ready", flush=True)
time.sleep(100_000)
"""
_COMPETE = """
import sys, time, torch
torch.cuda.set_device(1)
size, share = 2048, float(sys.argv[1])
a, b = torch.randn(2, size, size, device="cuda")
for _ in range(10):
    a @ b
torch.cuda.synchronize()
print("ready", flush=True)
while True:
    begin = time.perf_counter()
    for _ in range(20):
        a @ b
    torch.cuda.synchronize()
    time.sleep((time.perf_counter() - begin) * (1 / share - 1))
"""


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    lines = [
        "| pair | plan | speeds | peaks predicted MB | predicted samples/s | steady samples/s | error | max diff |",
        "|---|---|---|---|---:|---:|---:|---:|",
    ]
    for pair in options.pairs.split(","):
        with _made_unequal(pair, options):
            for name, plan in _plans(pair, options).items():
                lines.append(_row(pair, name, plan, options))
                print(lines[-1], flush=True)
    (options.out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--pairs", default="cpu", help="of cpu, memory and share, by commas")
    parser.add_argument("--model", default=None, help="default: bert-mini on CPUs, bert on GPUs")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", default="1,3", help="of the two CPU ranks")
    parser.add_argument("--left", type=float, default=1.0, help="GB left free of the second GPU's memory")
    parser.add_argument("--share", type=float, default=0.5, help="of time that the competitor computes")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    return parser.parse_args()


@contextlib.contextmanager
def _made_unequal(pair: str, options: argparse.Namespace) -> Iterator[None]:
    """Another process on the second GPU for as long as the context lasts."""
    if pair == "cpu":
        yield
        return
    code, value = (_HOLD, options.left) if pair == "memory" else (_COMPETE, options.share)
    other = subprocess.Popen([sys.executable, "-c", code, str(value)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        if other.stdout.readline().strip() != "ready":
            raise SystemExit(f"the other process of {pair} ended: it needs two GPUs")
        time.sleep(1.0)
        yield
    finally:
        other.kill()
        other.wait()


def _plans(pair: str, options: argparse.Namespace) -> dict[str, Plan]:
    """partkit's plan, the same after measuring its stages, and the simple splits, of one profile and cluster."""
    is_cpu = pair == "cpu"
    model = options.model or ("bert-mini" if is_cpu else "bert")
    device = "cpu" if is_cpu else "cuda"
    threads = [int(each) for each in options.threads.split(",")]
    profile = profile_model(parse_model(model, batch=options.batch), device=device, threads=threads[0])
    cluster = machine_cluster(2, device=device, threads=threads[0] if is_cpu else None)
    if is_cpu:
        devices = tuple(
            each.model_copy(update={"threads": count}) for each, count in zip(cluster.devices, threads, strict=True)
        )
        cluster = cluster.model_copy(update={"devices": devices, "shared_cores": None})
    cluster = with_measured_speeds(profile, cluster, each=pair == "share")
    plans = {}
    for name in SPLITS:
        try:
            plans[name] = make_plan(profile, cluster, _request(name))
        except PartkitError as error:  # a simple split that does not fit is a result too
            print(f"{pair} {name}: {error}", flush=True)
    plans["auto, measured"] = _by_measuring(profile, cluster, device)
    return plans


def _request(planner: str) -> PlanRequest:
    return PlanRequest(num_stages=2, exact_num_stages=True, planner=planner)


def _by_measuring(profile: Profile, cluster: Cluster, device: str) -> Plan:
    run = RunOptions(seconds=1.0, check=False, device=device)
    return plan_by_measuring(profile, cluster, _request("auto"), run).plan


def _row(pair: str, name: str, plan: Plan, options: argparse.Namespace) -> str:
    path = options.out / f"{pair}-{name.replace(', ', '-')}.json"
    plan.save(path.with_suffix(".plan.json"))
    speeds = ", ".join(f"{plan.cluster.devices[stage.devices[0]].speed:.3g}" for stage in plan.stages)
    peaks = ", ".join(f"{stage.peak_bytes / 1e6:.0f}" for stage in plan.stages)
    told = f"| {pair} | {name} | {speeds} | {peaks} | {plan.prediction.samples_per_s:.4g} |"
    try:
        result = run_plan(plan, RunOptions(seconds=options.seconds, device="cpu" if pair == "cpu" else "cuda"))
    except PartkitError as error:
        return f"{told} failed: {error} | | |"
    assert isinstance(result, RunResult)
    result.save(path)
    return (
        f"{told} {result.steady_samples_per_s:.4g} | {result.prediction_error or 0:.1%} | {result.check.max_abs_diff} |"
    )


if __name__ == "__main__":
    main()
