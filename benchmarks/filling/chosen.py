"""What the planner chooses of lanes and microbatches, against what it predicted and a sweep of all that it timed.

    PYTHONPATH=.:cli python3 benchmarks/filling/chosen.py --device cuda [--models bert,vit,gpt2] [--sweep]

For each model and dtype: the plan of `--lanes auto --microbatch auto`, and the same without microbatches, run as
`partkit run` does (outputs checked), and the highest rate at the p99 bound; with `--sweep` also every pair of lanes and
microbatch that was timed. One JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from partkit import PlanRequest, machine_cluster, parse_model, plan_as_asked, profile_model
from partkit.data.plan import Plan
from partkit.data.profile import Profile
from partkit.errors import PartkitError
from partkit.machine.devices import resolve_device
from partkit.planners.filling import plan_filled
from partkit.ranks.run_options import RunOptions
from partkit.runs.filling_times import with_filling
from partkit.runs.run import run_plan
from partkit.runs.run_under_load import run_under_load

_BEGIN = time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--models", default="bert")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--max-latency-ms", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run")
    parser.add_argument("--most", type=int, default=32, help="items a microbatch at most")
    parser.add_argument("--sweep", action="store_true", help="also run every other pair")
    parser.add_argument("--out", type=Path, default=Path("chosen.json"))
    options = parser.parse_args()
    options.device = resolve_device(options.device)
    with options.out.open("w", encoding="utf-8") as file:
        for model in options.models.split(","):
            for dtype in options.dtypes.split(","):
                for row in _rows(model, dtype, options):
                    print(json.dumps(row), flush=True)
                    file.write(json.dumps(row) + "\n")
                    file.flush()


def _rows(model: str, dtype: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    spec = parse_model(model, dtype=dtype, batch=options.most, dynamic=("batch",))
    run_options = RunOptions(device=options.device, seconds=options.seconds)
    profile = with_filling(profile_model(spec, device=options.device), lanes=None, options=run_options)
    _say(
        f"{model} {dtype}: {[(t.batch, t.lanes, round(t.batch / t.launch_s)) for t in profile.filling]} samples/s alone"
    )
    limit_s = options.max_latency_ms / 1e3
    told = []
    for bound, together in ((limit_s, None), (limit_s, 1)):
        try:
            plan = _plan(profile, options, bound, None, together)
        except PartkitError as error:
            told.append({"model": model, "dtype": dtype, "way": "chosen", "bound_s": bound, "fault": str(error)})
            continue
        told.append(_told(plan, run_options, {"model": model, "dtype": dtype, "way": "chosen", "bound_s": bound}))
        found = run_under_load(plan, run_options, samples=1, max_latency_s=bound)
        told[-1] |= {"found_rate": found.samples_per_s, "p99_s": found.latency_s.p99}
        _say(f"{plan.lanes} lanes, {plan.microbatch} items: p99 holds at {found.samples_per_s:.5g} samples/s")
    for each in profile.filling if options.sweep else ():
        plan = _plan(profile, options, None, each.lanes, each.batch)
        told.append(_told(plan, run_options, {"model": model, "dtype": dtype, "way": "swept", "bound_s": None}))
    return told


def _plan(
    profile: Profile, options: argparse.Namespace, bound: float | None, lanes: int | None, together: int | None
) -> Plan:
    cluster = machine_cluster(2, device=options.device)
    request = PlanRequest(num_stages=2, exact_num_stages=True)
    return plan_filled(
        profile,
        cluster,
        request,
        plan_as_asked,
        lanes=lanes,
        microbatch=together,
        samples=1,
        max_latency_s=bound,
    )


def _told(plan: Plan, options: RunOptions, row: dict[str, Any]) -> dict[str, Any]:
    row |= {
        "lanes": plan.lanes,
        "microbatch": plan.microbatch,
        "max_delay_s": plan.max_delay_s,
        "predicted_per_s": plan.prediction.samples_per_s,
        "detail": plan.planner.detail,
    }
    try:
        result = run_plan(plan, options)
    except PartkitError as error:
        return row | {"fault": str(error)}
    assert result is not None
    _say(f"{plan.lanes} lanes, {plan.microbatch} items: {result.steady_samples_per_s:.5g} samples/s")
    return row | {
        "samples_per_s": result.steady_samples_per_s,
        "prediction_error": result.prediction_error,
        "checked": result.check.passed,
    }


def _say(text: str) -> None:
    print(f"{time.perf_counter() - _BEGIN:.0f} s  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
