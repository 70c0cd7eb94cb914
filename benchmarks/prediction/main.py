"""Predicted against measured samples/s: models x batch x ways to run them, from measured and from analytic profiles.

    PYTHONPATH=.:cli python benchmarks/prediction/main.py --out results [--device cpu] [--only bert-tiny] [--limit 170]
    PYTHONPATH=.:cli python benchmarks/prediction/main.py --out results --calibrate    # two minutes more, once

Each way's prediction is what ``partkit advise`` says; what is measured is what ``partkit compare`` measures. Results
that are in the folder are kept: the same command makes those that are missing. Writes ``table.md``, ``errors.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.prediction.cases import CPU, CUDA, Case
from benchmarks.side_by_side import Bench, Match
from partkit import PlanRequest, machine_cluster, plan_as_asked, profile_model
from partkit.data.advice import Advice
from partkit.data.cluster import Cluster
from partkit.data.device_calibration import DeviceCalibration
from partkit.data.profile import Profile
from partkit.data.published_errors import PublishedErrors
from partkit.data.result import Comparison
from partkit.machine.devices import num_cuda_devices, resolve_device
from partkit.planners.advice.advise import WAY_OF_EXECUTOR, WAYS, advise
from partkit.profilers.nominal import short_name_of
from partkit.runs.calibrate import calibrate
from partkit.runs.compare import CompareOptions

EXECUTORS = ("single-graph", "replicas", "pipeline", "split", "tp", "fsdp")
CALIBRATION = "calibration.json"


@dataclass(frozen=True)
class Prediction:
    """One way to run one case, predicted and measured."""

    case: str
    way: str
    method: str
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """Relative, of samples/s; positive where too much was promised."""
        return self.predicted / self.measured - 1


def main() -> None:
    options = _options()
    bench = Bench(options.out, options.limit)
    results = measured_cases(bench, options)
    found = list(predictions(results))
    bench.write(table(found))
    errors = {f"{way} {method}": [round(each.error, 4) for each in group] for (way, method), group in groups(found)}
    (options.out / "errors.json").write_text(json.dumps(errors, indent=2) + "\n", encoding="utf-8")
    print(table(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--devices", type=int, default=None, help="default: every GPU, or two on a CPU")
    parser.add_argument("--only", default="", help="cases whose names begin so, by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.6, help="of each executor's turn")
    parser.add_argument("--calibrate", action="store_true", help=f"measure {CALIBRATION} first, where it is not there")
    parser.add_argument("--limit", type=float, default=530, help="seconds for all together")
    options = parser.parse_args()
    options.device = resolve_device(options.device)
    options.devices = options.devices or (num_cuda_devices() if options.device == "cuda" else 2)
    return options


@dataclass(frozen=True)
class Measured:
    """A case with its advice by method of the profile, and its comparison."""

    case: Case
    advice: dict[str, Advice]
    comparison: Comparison


def measured_cases(bench: Bench, options: argparse.Namespace) -> list[Measured]:
    """Profile, advise and compare every case that there is time for, or that is there already."""
    starts = tuple(filter(None, options.only.split(",")))
    every = CPU if options.device == "cpu" else CUDA
    cases = [case for case in every if not starts or case.name.startswith(starts)]
    options.out.mkdir(parents=True, exist_ok=True)
    if options.calibrate and not (options.out / CALIBRATION).exists():
        calibrate(device=options.device).save(options.out / CALIBRATION)
    cluster = machine_cluster(options.devices, device=options.device)
    found = []
    for case in cases:
        name = f"profile-{case.name}"
        profiles = bench.profiles({name: case.spec()}, options.device)
        if name not in profiles:
            continue
        match = _match(case, profiles[name], cluster, options)
        for comparison in bench.matches([match]).values():
            told = {"measured": advise(profiles[name], cluster)} | _analytic(case, profiles[name], cluster, options.out)
            found.append(Measured(case, told, comparison))
    return found


def _match(case: Case, profile: Profile, cluster: Cluster, options: argparse.Namespace) -> Match:
    request = PlanRequest(num_stages=len(cluster.devices), exact_num_stages=True)
    choice = CompareOptions(
        executors=EXECUTORS,
        rounds=options.rounds,
        seconds_per_round=options.seconds,
        device=options.device,
        allow_code=True,
        timeout_s=120,
    )
    return Match(f"compare-{case.name}", plan_as_asked(profile, cluster, request), choice)


def _analytic(case: Case, profile: Profile, cluster: Cluster, out: Path) -> dict[str, Advice]:
    """What published figures of the device say, and what its calibration makes of them."""
    name = short_name_of(profile.device.type, profile.device.name)
    if name is None:
        return {}
    # a file of one point that changes nothing: a calibration that this machine keeps must not stand for no calibration
    nominal = out / "nominal.json"
    if not nominal.exists():
        point = {"family": "other", "operation": "none", "dtype": "none", "flop": 0, "moved_bytes": 0}
        DeviceCalibration.model_validate(
            {"nominal": name, "device": "published figures", "points": [{**point, "seconds": 1, "nominal_s": 1}]}
        ).save(nominal)
    told = {"analytic": advise(profile_model(case.spec(), analytic=str(nominal)), cluster)}
    if (out / CALIBRATION).exists():
        told["calibrated"] = advise(profile_model(case.spec(), analytic=str(out / CALIBRATION)), cluster)
    return told


def predictions(results: Sequence[Measured]) -> Iterator[Prediction]:
    """A row for each case, method and way: of the executors that go a way, the fastest counts."""
    for result in results:
        rates: dict[str, float] = {}
        for row in result.comparison.rows:
            if row.status == "ok" and row.samples_per_s:
                way = WAY_OF_EXECUTOR[row.executor]
                rates[way] = max(rates.get(way, 0.0), row.samples_per_s)
        for method, advice in result.advice.items():
            for choice in advice.choices:
                if choice.way in rates:
                    yield Prediction(result.case.name, choice.way, method, choice.samples_per_s, rates[choice.way])


def groups(found: Sequence[Prediction]) -> list[tuple[tuple[str, str], list[Prediction]]]:
    """Predictions by way and method."""
    keys = [(way, method) for way in WAYS for method in ("measured", "analytic", "calibrated")]
    grouped = [(key, [each for each in found if (each.way, each.method) == key]) for key in keys]
    return [(key, group) for key, group in grouped if group]


def table(found: Sequence[Prediction]) -> str:
    """All cases, then the errors of each way and method."""
    lines = ["| case | way | measured | " + " | ".join(("measured profile", "analytic", "calibrated")) + " |"]
    lines.append("|---|---|---:|---:|---:|---:|")
    for case, way in dict.fromkeys((each.case, each.way) for each in found):
        by_method = {each.method: each for each in found if (each.case, each.way) == (case, way)}
        cells = [
            "" if (each := by_method.get(method)) is None else f"{each.predicted:.4g} ({each.error:+.0%})"
            for method in ("measured", "analytic", "calibrated")
        ]
        measured = next(iter(by_method.values())).measured
        lines.append(f"| {case} | {way} | {measured:.4g} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| way | profile | cases | median error | worst | nine in ten below |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for (way, method), group in groups(found):
        errors = tuple(abs(each.error) for each in group)
        bound = PublishedErrors(way, "", method, errors, "").bound
        lines.append(
            f"| {way} | {method} | {len(errors)} | {statistics.median(errors):.1%} | {max(errors):.1%} | {bound:.1%} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
