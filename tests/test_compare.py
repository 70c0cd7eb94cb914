import pytest

from partkit.compare import CompareOptions, compare_executors
from partkit.errors import UsageError
from partkit.result import Row
from partkit.verdict import conclude
from tests.planned import plan_of


def row(executor: str, rate: float, *, latency: float = 0.1, peak: int = 100, spread: float = 0.0) -> Row:
    return Row(
        executor=executor,
        status="ok",
        samples_per_s=rate,
        ci95=(rate - spread, rate + spread),
        latency_p50_s=latency,
        peak_bytes=(peak,),
    )


def test_executors_are_measured_side_by_side_on_cpu() -> None:
    options = CompareOptions(device="cpu", rounds=2, seconds_per_round=0.1)
    comparison = compare_executors(plan_of("bert-tiny", 2), options)
    rows = {row.executor: row for row in comparison.rows}
    assert list(rows) == ["single", "pipeline", "dispatch", "fsdp"]
    assert [(r.status, r.max_abs_diff) for r in rows.values()] == [("ok", 0.0)] * 4
    assert comparison.valid
    assert comparison.devices == 2
    assert len(rows["pipeline"].peak_bytes) == 2
    assert rows["fsdp"].per_rank_samples_per_s == pytest.approx((rows["fsdp"].samples_per_s or 0) / 2)
    assert rows["single"].per_rank_samples_per_s is None


def test_an_unknown_executor_is_refused_before_anything_starts() -> None:
    with pytest.raises(UsageError, match="there is no executor 'warp'"):
        compare_executors(plan_of("bert-tiny", 2), CompareOptions(executors=("single", "warp")))


def test_the_verdict_says_when_splitting_is_not_worth_it() -> None:
    verdict = conclude([row("single", 10.0), row("pipeline", 8.0)], 2)
    assert verdict.throughput == "single"
    assert verdict.text.startswith("You don't need to split: single is fastest with 10 samples/s on one of 2 devices.")


def test_the_verdict_claims_no_gain_where_intervals_overlap() -> None:
    verdict = conclude([row("single", 10.0, spread=1.0), row("pipeline", 10.5, spread=1.0)], 2)
    assert "splitting shows no sure gain" in verdict.text


def test_the_verdict_gives_the_ratio_and_the_best_for_each_aim() -> None:
    rows = [row("single", 10.0, latency=0.1, peak=200), row("pipeline", 19.0, latency=0.11, peak=100)]
    verdict = conclude(rows, 2)
    assert (verdict.throughput, verdict.latency, verdict.memory) == ("pipeline", "single", "pipeline")
    assert verdict.text.startswith("pipeline is fastest with 19 samples/s, 1.90 times single, on 2 devices.")


def test_rows_that_are_not_ok_win_nothing() -> None:
    wrong = row("pipeline", 99.0).model_copy(update={"status": "invalid", "reason": "its outputs differ"})
    assert conclude([row("single", 1.0), wrong], 2).throughput == "single"
    assert conclude([wrong], 2).throughput is None
