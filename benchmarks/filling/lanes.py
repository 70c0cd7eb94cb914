"""Lanes: a pipeline's rate with 1, 2, 4 and 8 items side by side on each GPU, against replicas of one lane.

    PYTHONPATH=.:cli python3 benchmarks/filling/lanes.py --device cuda [--dtypes float32,bfloat16] [--out lanes.json]

Every way has ranks of its own, all of a dtype loaded before the first round and checked against the unsplit model, and
a pipeline of 4 lanes against one of 1 to the bit. In a round each is measured alone, one after the other. Ratios are
medians over rounds of a way's rate over the rate of single-lane replicas in the same round. One JSON object a line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from partkit import PlanRequest, machine_cluster, open_pipeline, parse_model, plan_as_asked, profile_model
from partkit.data.job import RunJob
from partkit.data.orders import Load, RunItems
from partkit.data.plan import Plan
from partkit.data.replies import Loaded
from partkit.machine.devices import resolve_device
from partkit.models.inputs import synthetic_inputs
from partkit.ranks.group import RankGroup
from partkit.ranks.mailbox import Posted
from partkit.ranks.own_folder import own_folder
from partkit.ranks.run_options import RunOptions, job_of
from partkit.runs.check import check_outputs, make_reference
from partkit.runs.rates import latencies, overall_rate

_BEGIN = time.perf_counter()
_NUM_COMPARED = 32
_RIVAL = "replicas, 1 lane"


@dataclass
class Way:
    """An executor with so many lanes, loaded."""

    name: str
    executor: str
    lanes: int
    group: RankGroup[RunJob]
    loading: Posted[Loaded]
    max_abs_diff: float | None = None
    rates: list[float] = field(default_factory=list)
    latency_s: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model", default="bert")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--lanes", default="1,2,4,8")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each way in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--analytic", help="plan from published figures of this device, without measuring")
    parser.add_argument("--out", type=Path, default=Path("lanes.json"))
    options = parser.parse_args()
    options.device = resolve_device(options.device)
    told = [row for dtype in options.dtypes.split(",") for row in _measured(dtype, options)]
    options.out.write_text("".join(json.dumps(row) + "\n" for row in told), encoding="utf-8")


def _measured(dtype: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    spec = parse_model(options.model, dtype=dtype)
    profile = profile_model(spec, device=options.device, analytic=options.analytic)
    cluster = machine_cluster(2, device=options.device)
    plan = plan_as_asked(profile, cluster, PlanRequest(num_stages=2, exact_num_stages=True))
    _say(f"{dtype}: planned, {plan.prediction.samples_per_s:.5g} samples/s with one lane")
    counts = [int(count) for count in options.lanes.split(",")]
    _require_same_bits(plan, 4, options.device)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(own_folder())
        reference = make_reference(job_of(plan, "single", RunOptions(device=options.device)), folder)
        wanted = [("pipeline", count) for count in counts] + [("replicas", count) for count in sorted({1, *counts})]
        ways = [_loading(plan, executor, lanes, options.device, stack) for executor, lanes in wanted]
        for way in ways:
            way.group.collect(way.loading)
            check = check_outputs(way.group, reference)
            assert check.passed, f"{way.name}: {check.difference}"
            way.max_abs_diff = check.max_abs_diff
            _say(f"{dtype}: {way.name} gives the unsplit model's outputs")
        for number in range(options.rounds):
            for way in ways:
                _round(way, options.seconds)
            _say(f"{dtype}: round {number + 1} of {options.rounds}: {_last(ways)}")
    rival = next(way for way in ways if way.name == _RIVAL)
    told = [_told(way, rival, dtype, plan) for way in ways]
    for row in told:
        print(json.dumps(row), flush=True)
    return told


def _say(text: str) -> None:
    print(f"{time.perf_counter() - _BEGIN:.0f} s  {text}", file=sys.stderr, flush=True)


def _last(ways: Sequence[Way]) -> str:
    return ", ".join(f"{way.name} {way.rates[-1]:.5g}" for way in ways)


def _loading(plan: Plan, executor: str, lanes: int, device: str, stack: contextlib.ExitStack) -> Way:
    filled = plan.model_copy(update={"lanes": lanes})
    group = stack.enter_context(RankGroup(job_of(filled, executor, RunOptions(device=device))))
    name = f"{executor}, {lanes} lane{'s' if lanes > 1 else ''}"
    return Way(name, executor, lanes, group, group.post(Load()))


def _require_same_bits(plan: Plan, lanes: int, device: str) -> None:
    """However many lanes there are, an item goes through the same kernels."""
    items = [synthetic_inputs(plan.model, number) for number in range(_NUM_COMPARED)]
    outputs = []
    for count in (1, lanes):
        filled = plan.model_copy(update={"lanes": count})
        with open_pipeline(filled, device=device, copy=True, max_in_flight=2 * lanes) as pipeline:
            outputs.append([*pipeline.map_flat(items)])
    for number, (one, other) in enumerate(zip(*outputs, strict=True)):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True)), f"{lanes} lanes change item {number}"
    _say(f"{_NUM_COMPARED} outputs with 1 and with {lanes} lanes agree to the bit")


def _round(way: Way, seconds: float) -> None:
    """As many items as fill the time, then a few one at a time."""
    warm, _ = overall_rate(way.group.call(RunItems(num_items=64)), way.group.job)
    count = max(64, int(warm / way.group.job.fed.batch * seconds))
    runs = way.group.call(RunItems(num_items=count))
    way.rates.append(overall_rate(runs, way.group.job)[1])
    way.busy.append(min(run.busy for run in runs))
    way.peak_bytes = [use.peak_bytes for run in runs for use in run.uses]
    way.latency_s.append(statistics.median(latencies(way.group.call(RunItems(num_items=20, one_at_a_time=True)))))


def _told(way: Way, rival: Way, dtype: str, plan: Plan) -> dict[str, Any]:
    return {
        "model": plan.model.source,
        "dtype": dtype,
        "device": way.group.job.device,
        "executor": way.executor,
        "lanes": way.lanes,
        "samples_per_s": statistics.median(way.rates),
        "of_single_lane_replicas": statistics.median(a / b for a, b in zip(way.rates, rival.rates, strict=True)),
        "single_item_s": statistics.median(way.latency_s),
        "busy": statistics.median(way.busy),
        "peak_bytes": way.peak_bytes,
        "max_abs_diff": way.max_abs_diff,
        "predicted_with_one_lane": plan.prediction.samples_per_s,
        "rounds": way.rates,
    }


if __name__ == "__main__":
    main()
