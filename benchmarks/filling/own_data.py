"""The rate of a program's own items beside `run`'s on synthetic ones, of the same plans in the same rounds.

    PYTHONPATH=.:cli python3 benchmarks/filling/own_data.py --device cuda --stages 2 [--only bert] [--out own_data.json]

Every way has ranks of its own, all loaded before the first round. In a round each is measured alone, one after the
other: synthetic items (what `run` measures, no outputs), `map`, `map` of one small output, `submit` from 16 threads and
single items by `submit(item).result()`. Rates are in steady state, after a warm-up and the first fifth of the outputs,
as `run` tells them. Ratios are medians over rounds of a way's rate over the synthetic rate of the same round.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from partkit.ranks.run_options import RunOptions, job_of
from partkit.ranks.run_work import steady_rate
from partkit.runs.open_pipeline import Pipeline
from partkit.runs.rates import latencies, overall_rate

_BEGIN = time.perf_counter()
_NUM_THREADS = 16
_NUM_DISTINCT = 8
_NUM_SINGLE = 40
_NUM_WARM = 16


@dataclass
class Case:
    """A model's plan, ready in every way."""

    name: str
    plan: Plan
    group: RankGroup[RunJob]
    own: Pipeline
    chosen: Pipeline | None
    items: list[dict[str, torch.Tensor]]
    rates: dict[str, list[float]] = field(default_factory=dict)
    single_s: dict[str, list[float]] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.8, help="of each way in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--analytic", help="plan from published figures of this device, without measuring")
    parser.add_argument("--only", choices=("bert", "small"), help="one of the two models")
    parser.add_argument("--out", type=Path, default=Path("own_data.json"))
    options = parser.parse_args()
    options.device = resolve_device(options.device)
    bert = "bert_base" if options.device == "cuda" else "bert_mini"
    with contextlib.ExitStack() as stack:
        plans = {
            name: _plan(f"py:benchmarks.filling.models:{factory}", options)
            for name, factory in (("bert", bert), ("small", "small"))
            if options.only in (None, name)
        }
        _say(f"planned {', '.join(plans)}")
        groups = {name: _loading(plan, options.device, stack) for name, plan in plans.items()}
        cases = [_open(name, plan, groups[name], options.device, stack) for name, plan in plans.items()]
        _say("loaded")
        for case in cases:
            _check(case)
            _say(f"{case.name}: map and submit agree to the bit")
            for number in range(options.rounds):
                _round(case, options.seconds)
                _say(f"{case.name}: round {number + 1} of {options.rounds}: {_last(case)}")
    told = {case.name: _told(case) for case in cases}
    print("\n".join(_table(told)))
    print(json.dumps(told))
    options.out.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _say(text: str) -> None:
    print(f"{time.perf_counter() - _BEGIN:.0f} s  {text}", file=sys.stderr, flush=True)


def _last(case: Case) -> str:
    return ", ".join(f"{way} {rates[-1]:.5g}" for way, rates in case.rates.items())


def _plan(source: str, options: argparse.Namespace) -> Plan:
    profile = profile_model(parse_model(source), device=options.device, analytic=options.analytic)
    cluster = machine_cluster(options.stages, device=options.device)
    return plan_as_asked(profile, cluster, PlanRequest(num_stages=options.stages, exact_num_stages=True))


Loading = tuple[RankGroup[RunJob], Posted[Loaded]]


def _loading(plan: Plan, device: str, stack: contextlib.ExitStack) -> Loading:
    """The ranks of `run`, which load while pipelines are opened."""
    group = stack.enter_context(RankGroup(job_of(plan, "pipeline", RunOptions(device=device, allow_code=True))))
    return group, group.post(Load())


def _open(name: str, plan: Plan, ranks: Loading, device: str, stack: contextlib.ExitStack) -> Case:
    """All ways, loaded."""
    group, loading = ranks
    chosen = None
    own = stack.enter_context(open_pipeline(plan, device=device, allow_code=True))
    if name == "bert":
        chosen = stack.enter_context(open_pipeline(plan, device=device, allow_code=True, outputs=("tokens",)))
    group.collect(loading)
    items = [synthetic_inputs(plan.model, number) for number in range(_NUM_DISTINCT)]
    return Case(name, plan, group, own, chosen, items)


def _check(case: Case) -> None:
    """The ways agree to the bit, and warm up."""
    mapped = list(case.own.map(case.items))
    for number, (one, future) in enumerate(zip(mapped, [case.own.submit(item) for item in case.items], strict=True)):
        other = future.result()
        pairs = zip(_tensors(one), _tensors(other), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs), f"item {number} of {case.name} differs"


def _tensors(output: Any) -> Sequence[torch.Tensor]:
    return list(output.values()) if isinstance(output, dict) else list(output)


def _round(case: Case, seconds: float) -> None:
    """Each way once, of as many items as fill the time at the synthetic rate."""
    warm, _ = _synthetic_rates(case, 2 * _NUM_THREADS)
    count = max(4 * _NUM_THREADS, int(warm * seconds))
    _note(case.rates, "run", _synthetic_rates(case, count)[1])
    _note(case.rates, "map", _map_rate(case.own, case.items, count))
    if case.chosen is not None:
        _note(case.rates, "map, outputs=tokens", _map_rate(case.chosen, case.items, count))
    _note(case.rates, f"submit, {_NUM_THREADS} threads", _submit_rate(case.own, case.items, count))
    single = case.group.call(RunItems(num_items=_NUM_SINGLE, one_at_a_time=True))
    _note(case.single_s, "run", statistics.median(latencies(single)))
    _note(case.single_s, "submit", _single_s(case.own, case.items))


def _synthetic_rates(case: Case, num_items: int) -> tuple[float, float]:
    """Items/s of a run from its start to its end, and in steady state."""
    overall, steady = overall_rate(case.group.call(RunItems(num_items=num_items)), case.group.job)
    return overall / case.plan.model.batch, steady / case.plan.model.batch


def _note(noted: dict[str, list[float]], name: str, value: float) -> None:
    noted.setdefault(name, []).append(value)


def _map_rate(pipeline: Pipeline, items: Sequence[Any], count: int) -> float:
    came = []
    for _ in pipeline.map(itertools.islice(itertools.cycle(items), _NUM_WARM + count)):
        came.append(time.perf_counter())
    assert len(came) == _NUM_WARM + count
    return _steady(came[_NUM_WARM:])


def _steady(finished_at: list[float]) -> float:
    rate = steady_rate(finished_at)
    assert rate is not None
    return rate


def _submit_rate(pipeline: Pipeline, items: Sequence[Any], count: int) -> float:
    each = count // _NUM_THREADS

    def client(_: int) -> list[float]:
        came = []
        for number in range(each):
            pipeline.submit(items[number % len(items)]).result()
            came.append(time.perf_counter())
        return came

    with ThreadPoolExecutor(_NUM_THREADS) as threads:
        return _steady(sorted(itertools.chain(*threads.map(client, range(_NUM_THREADS)))))


def _single_s(pipeline: Pipeline, items: Sequence[Any]) -> float:
    seconds = []
    for number in range(_NUM_SINGLE):
        begin = time.perf_counter()
        pipeline.submit(items[number % len(items)]).result()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


# --- what is told -----------------------------------------------------------------------------------------------


def _told(case: Case) -> dict[str, Any]:
    return {
        "device": case.group.job.device,
        "stages": len(case.plan.stages),
        "slots": case.own.num_slots,
        "output_bytes": sum(value.num_bytes for value in case.own.form.outputs),
        "predicted_per_s": case.plan.prediction.samples_per_s / case.plan.model.batch,
        "predicted_latency_s": case.plan.prediction.latency_s,
        "rates_per_s": {way: statistics.median(rates) for way, rates in case.rates.items()},
        "ratios": {
            way: statistics.median(rate / run for rate, run in zip(rates, case.rates["run"], strict=True))
            for way, rates in case.rates.items()
        },
        "latency_s": {way: statistics.median(seconds) for way, seconds in case.single_s.items()},
        "rounds": {"rates_per_s": case.rates, "latency_s": case.single_s},
    }


def _table(told: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield "| model | way | items/s | of `run` | one item, ms | above the plan's, ms |"
    yield "|---|---|---:|---:|---:|---:|"
    for name, case in told.items():
        for way, rate in case["rates_per_s"].items():
            alone = case["latency_s"].get(way.split(",")[0])
            single = "" if alone is None else f"{alone * 1e3:.3f}"
            above = "" if alone is None else f"{(alone - case['predicted_latency_s']) * 1e3:.3f}"
            yield f"| {name} | {way} | {rate:.5g} | {case['ratios'][way]:.3f} | {single} | {above} |"
    yield ""


if __name__ == "__main__":
    main()
