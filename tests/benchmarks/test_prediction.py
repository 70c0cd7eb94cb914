"""The reference experiment's order from an analytic profile, and the tables of predictions."""

from __future__ import annotations

import pytest

from benchmarks.prediction import advise, main, reference
from benchmarks.prediction.cases import CPU, CUDA, Case
from partkit import profile_model
from partkit.data.advice import Advice, Choice
from partkit.data.model import ModelSpec
from partkit.data.result import Comparison, Row


def test_the_reference_s_four_results_come_out_in_their_order(tmp_path, monkeypatch) -> None:
    """With seconds per launch as this project measured them on its own host, for any of the published GPUs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    order = ["pipeline cut by hand", "DeepSpeed TP", "FSDP", "dispatch"]
    assert sorted(reference.MEASURED, key=lambda way: -reference.MEASURED[way]) == order
    found = reference.replay("a10", profile=profile_model("bert", analytic="a10"))
    assert [each.way for each in found] == order
    assert "order: right" in reference.table("a10", 30e-6, found)
    assert "order: WRONG" in reference.table("a10", 30e-6, found[::-1])


def result(advised: str, rates: dict[str, float], predicted: dict[str, float]) -> main.Measured:
    choices = tuple(
        Choice(way=way, executor=way, devices=2, samples_per_s=rate, latency_s=1.0, peak_bytes=1, fits=True, reason="")
        for way, rate in predicted.items()
    )
    rows = tuple(
        Row(executor=name, status="ok", samples_per_s=rate, ci95=(rate * 0.95, rate * 1.05))
        for name, rate in rates.items()
    )
    comparison = Comparison(valid=True, model=ModelSpec(), devices=2, rows=rows)
    return main.Measured(Case("bert-tiny"), {"measured": Advice(choices=choices, best=advised)}, comparison)


def test_an_error_is_of_the_fastest_executor_of_its_way_and_advice_agrees_by_way() -> None:
    measured = result("pipeline", {"pipeline": 90.0, "split": 100.0, "replicas": 50.0}, {"pipeline": 110.0, "tp": 7.0})
    (found,) = main.predictions([measured])
    assert (found.way, found.measured, found.error) == ("pipeline", 100.0, pytest.approx(0.1))
    assert "| pipeline | measured | 1 | 10.0% | 10.0% | 10.0% |" in main.table([found])
    assert "1 of 1 agree, 0 more are ties" in advise.table([measured])
    other = result("replicas", {"pipeline": 100.0, "replicas": 98.0}, {"pipeline": 1.0, "replicas": 2.0})
    assert "0 of 1 agree, 1 more are ties" in advise.table([other])
    far = result("replicas", {"pipeline": 100.0, "replicas": 50.0}, {"pipeline": 1.0, "replicas": 2.0})
    assert "0 of 1 agree, 0 more are ties" in advise.table([far])


def test_there_are_twelve_cases_and_more() -> None:
    assert len({case.name for case in CPU}) >= 12
    assert len({case.name for case in CUDA}) >= 12
