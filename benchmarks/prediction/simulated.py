"""Simulated against measured samples/s: models x batch x stages, each plan from a profile measured just before.

    PYTHONPATH=.:cli python benchmarks/prediction/simulated.py --device cpu --out simulated.json
    PYTHONPATH=.:cli python benchmarks/prediction/simulated.py --device cuda --out simulated.json    # two GPUs

A case is profiled, planned, run and simulated before the next one: a host whose speed drifts does so between cases, not
within one. The error is (simulated - measured) / measured of steady samples/s.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Iterator
from pathlib import Path

from partkit import PlanRequest, machine_cluster, parse_model, plan_as_asked, profile_model
from partkit.machine.devices import resolve_device
from partkit.planners.simulated_result import simulated_result
from partkit.ranks.run_options import RunOptions
from partkit.runs.run import run_plan

CASES = {
    "cpu": itertools.product(("bert-tiny", "bert-mini", "llama-tiny"), (1, 4), (1, 2), (None,)),
    "cuda": itertools.product(("bert", "gpt2", "vit"), (1, 4), (1, 2), (None, "bfloat16")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--out", type=Path, default=Path("simulated.json"))
    options = parser.parse_args()
    device = resolve_device(options.device)
    rows = []
    for row in _rows(device, options.seconds):
        rows.append(row)
        print(_line(row), flush=True)
        options.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    errors = sorted(abs(row["error"]) for row in rows)
    print(f"\n{len(rows)} cases: median {statistics.median(errors):.1%}, worst {errors[-1]:.1%}")


def _rows(device: str, seconds: float) -> Iterator[dict]:
    for model, batch, stages, dtype in CASES[device]:
        spec = parse_model(model, batch=batch, dtype=dtype)
        profile = profile_model(spec, device=device, refresh=True)
        cluster = machine_cluster(stages, device=device)
        plan = plan_as_asked(profile, cluster, PlanRequest(num_stages=stages, exact_num_stages=True))
        result = run_plan(plan, RunOptions(device=device, seconds=seconds, check=False, latency_items=5))
        assert result is not None
        simulated, _ = simulated_result(plan, num_items=max(200, result.items))
        measured = result.steady_samples_per_s
        yield {
            "model": f"{model}{'' if dtype is None else ' bf16'}",
            "batch": batch,
            "stages": stages,
            "predicted": plan.prediction.samples_per_s,
            "simulated": simulated.steady_samples_per_s,
            "measured": measured,
            "error": simulated.steady_samples_per_s / measured - 1,
        }


def _line(row: dict) -> str:
    figures = " | ".join(f"{row[name]:.5g}" for name in ("predicted", "simulated", "measured"))
    return f"| {row['model']} | {row['batch']} | {row['stages']} | {figures} | {row['error']:+.1%} |"


if __name__ == "__main__":
    main()
