from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import psutil
import pytest

from partkit.data.job import LinksJob, RunJob
from partkit.data.orders import DescribeEnvironment
from partkit.data.progress import Progress
from partkit.data.result import Comparison, Row
from partkit.errors import OutOfMemoryError, UsageError
from partkit.ranks.group import RankGroup
from partkit.runs import compare
from partkit.runs.check import make_reference
from partkit.runs.compare import CompareOptions, Contest, compare_executors
from partkit.runs.verdict import conclude
from tests.executors.rigged import SLEEP_S
from tests.listeners import listening, own_family
from tests.planned import plan_of

TIMEOUT_S = 12.0
"""Of one order: long enough for a busy machine to load a small model, once the server of ranks has imported torch."""


@pytest.fixture(scope="module", autouse=True)
def started_server() -> None:
    with RankGroup(LinksJob()) as group:
        group.call(DescribeEnvironment())


def row(executor: str, rate: float, *, latency: float = 0.1, peak: int = 100, spread: float = 0.0) -> Row:
    return Row(
        executor=executor,
        status="ok",
        samples_per_s=rate,
        ci95=(rate - spread, rate + spread),
        latency_p50_s=latency,
        peak_bytes=(peak,),
    )


def num_rank_processes() -> int:
    return sum(child.name().startswith("partkit-rank-") for child in psutil.Process().children(recursive=True))


def compared_with_rigged(*names: str) -> tuple[Comparison, dict[str, Row]]:
    """A comparison of ``single`` and rigged executors, and its rows by their short names."""
    options = CompareOptions(
        executors=("single", *(f"tests.executors.rigged:{name}" for name in names)),
        device="cpu",
        rounds=2,
        seconds_per_round=0.1,
        allow_code=True,
        timeout_s=TIMEOUT_S,
    )
    comparison = compare_executors(plan_of("py:tests.sample_models:stack", 1), options)
    return comparison, {row.executor.rpartition(":")[2]: row for row in comparison.rows}


@pytest.mark.slow
def test_executors_are_measured_side_by_side_on_cpu() -> None:
    names = ("single", "replicas", "fsdp", "accelerate")
    options = CompareOptions(executors=names, device="cpu", rounds=2, seconds_per_round=0.1, allow_code=True)
    addresses: set[IPv4Address | IPv6Address] = set()
    steps: list[str] = []
    stood: list[tuple[str, str, int, int]] = []

    def tell(label: str, done: int, total: int) -> None:
        addresses.update(listening(own_family()))
        steps.append(f"{label} {done}/{total}")

    def stand(row: Row, number: int, rounds: int) -> None:
        assert (row.samples_per_s or 0) > 0 or row.status == "unsupported"
        stood.append((row.executor, row.status, number, rounds))

    comparison = compare_executors(plan_of("py:tests.sample_models:stack", 2), options, tell, stand)
    assert addresses
    assert all(address.is_loopback for address in addresses), addresses
    assert stood[0] == ("accelerate", "unsupported", 0, 2)
    assert sorted(stood[1:]) == sorted((name, "ok", number, 2) for name in names[:3] for number in (1, 2))
    assert [step for step in steps if step.startswith("Loading executors")] == [
        *(f"Loading executors · {name} {place}/4" for place, name in enumerate(names)),
        "Loading executors 4/4",
    ]
    assert [step.rpartition(" ")[2] for step in steps if step.startswith("Comparing")] == [f"{n}/8" for n in range(9)]
    rows = {row.executor: row for row in comparison.rows}
    assert [(r.executor, r.status, r.max_abs_diff) for r in rows.values()] == [
        ("single", "ok", 0.0),
        ("replicas", "ok", 0.0),
        ("fsdp", "ok", 0.0),
        ("accelerate", "unsupported", None),
    ]
    assert (rows["accelerate"].reason or "").startswith("accelerate")
    assert comparison.valid
    assert comparison.devices == 2
    assert len(rows["replicas"].peak_bytes) == len(rows["replicas"].busy) == 2
    assert rows["fsdp"].per_rank_samples_per_s == pytest.approx((rows["fsdp"].samples_per_s or 0) / 2)
    assert rows["single"].per_rank_samples_per_s is None
    assert rows["single"].latency_p50_s is not None, "six items, the fewest for a median"
    graphless = "no CUDA graphs on the CPU: the captured graph runs as generated code"
    assert graphless in (rows["replicas"].note or ""), "a busy host adds that its speed had not settled"
    assert comparison.environment["seed_of_weights_and_inputs"] == 1
    assert num_rank_processes() == 0


@pytest.mark.slow
def test_rigged_executors_spoil_no_other_row_and_leave_no_process() -> None:
    faults = ("GivesWrongOutputs", "Sleeps", "CrashesLater", "Hangs", "Refuses")
    comparison, rows = compared_with_rigged(*faults)
    assert {name: row.status for name, row in rows.items()} == {
        "single": "ok",
        "GivesWrongOutputs": "invalid",
        "Sleeps": "ok",
        "CrashesLater": "failed",
        "Hangs": "failed",
        "Refuses": "unsupported",
    }
    assert rows["GivesWrongOutputs"].reason == (
        "its outputs differ by 1, and 0.0001 is allowed (output output of item 0: 16 of 16 elements differ, the first "
        "at [0, 0], the most at [0, 1]: 1.06849 and not 0.0684854)"
    )
    fastest = comparison.model.batch / SLEEP_S
    assert 0 < (rows["Sleeps"].samples_per_s or 0) <= fastest < (rows["single"].samples_per_s or 0)
    assert "was ended by SIGKILL during 'run'" in (rows["CrashesLater"].reason or "")
    assert f"got stuck during 'check' and gave no answer within {TIMEOUT_S:.0f} s" in (rows["Hangs"].reason or "")
    assert rows["Refuses"].reason == "it cannot run with torch 2"
    assert [rows[name].samples_per_s for name in ("CrashesLater", "Hangs", "Refuses")] == [None] * 3
    assert (comparison.valid, comparison.verdict.throughput) == (False, "single")
    assert num_rank_processes() == 0


def test_what_does_not_fit_beside_the_others_is_measured_after_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARTKIT_TEST_MEMORY", str(tmp_path / "memory"))
    names = ("TakesAllMemory", "TakesAllMemoryToo", "NeverFits")
    rows = compared_with_rigged(*names)[1]
    assert {name: row.status for name, row in rows.items()} == {
        "single": "ok",
        "TakesAllMemory": "ok",
        "TakesAllMemoryToo": "ok",
        "NeverFits": "failed",
    }
    later = "measured after the others had gone: memory did not hold all at once"
    assert sum(later in (rows[name].note or "") for name in names[:2]) == 1
    assert "failed: out of memory on the host: 87 GB more were asked for, " in (rows["NeverFits"].reason or "")
    assert num_rank_processes() == 0


def test_a_reference_that_does_not_fit_beside_the_executors_is_made_before_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def crowded(job: RunJob, folder: Path, *tell: Progress, **how: bool) -> Path:
        calls.append(num_rank_processes())
        if len(calls) == 1:
            raise OutOfMemoryError("CUDA out of memory")
        return make_reference(job, folder, *tell, **how)

    monkeypatch.setattr(compare, "make_reference", crowded)
    options = CompareOptions(executors=("single",), device="cpu", rounds=1, seconds_per_round=0.1, allow_code=True)
    with Contest(plan_of("py:tests.sample_models:stack", 1), options) as contest:
        contest.start()
        contest.load()
        comparison = contest.measure()
    assert calls[1:] == [0]
    assert [row.status for row in comparison.rows] == ["ok"]


def test_code_of_the_user_s_own_is_no_executor_without_consent() -> None:
    with pytest.raises(UsageError) as raised:
        compare_executors(plan_of("bert-tiny", 2), CompareOptions(executors=("os:abort",)))
    assert str(raised.value) == "the executor os:abort is Python code outside partkit; allow it with --allow-code"


def test_an_unknown_executor_is_refused_before_anything_starts() -> None:
    with pytest.raises(UsageError, match="there is no executor 'warp'"):
        compare_executors(plan_of("bert-tiny", 2), CompareOptions(executors=("single", "warp")))


def test_the_verdict_says_when_splitting_is_not_worth_it() -> None:
    verdict = conclude([row("single", 10.0), row("pipeline", 8.0)], 2)
    assert verdict.throughput == "single"
    assert verdict.text.startswith(
        "You don't need to split: single is fastest with 10 samples/s on one of 2 devices; "
        "the best split, pipeline, reaches 0.80 times that."
    )


def test_copies_of_the_whole_model_are_the_rival_of_every_split() -> None:
    verdict = conclude([row("single", 10.0), row("replicas", 20.0, peak=400), row("pipeline", 19.0)], 2)
    assert verdict.text.startswith(
        "You don't need to split: replicas is fastest with 20 samples/s on 2 devices, each of which must hold the "
        "whole model (400 B); the best split, pipeline, reaches 0.95 times that."
    )


def refused(executor: str, reason: str, status: str = "unsupported") -> Row:
    return Row(executor=executor, status=status, reason=reason)


def test_the_verdict_says_that_a_model_must_be_split_and_who_can() -> None:
    too_large = refused("single", "single needs 97 GB on one device, and cuda:0 has 79 GB")
    graph = refused("replicas", "replicas needs 98 GB on one device, and cuda:1 has 79 GB")
    rows = [too_large, graph, row("pipeline", 8.0), row("fsdp", 2.0), row("tp", 4.0), row("streamed", 0.1)]
    text = conclude(rows, 2).text
    assert text.startswith(
        "The model must be split: it needs 97 GB on one device, and cuda:0 has 79 GB; pipeline, fsdp and tp can. "
        "pipeline is fastest with 8 samples/s. "
    )
    held = refused(
        "single",
        "rank 0 failed: single needs 13.5 GB on one device, and cuda:0 has 9 GB free of 79 GB; process 42 (x) holds "
        "69 GB; plan with more --stages",
        "failed",
    )
    assert conclude([held, row("split", 8.0)], 2).text.startswith(
        "The model must be split: it needs 13.5 GB on one device, and cuda:0 has 9 GB free of 79 GB; split can. "
    )
    assert conclude([held, refused("fsdp", "no NCCL")], 2).text == (
        "The model must be split: it needs 13.5 GB on one device, and cuda:0 has 9 GB free of 79 GB; none of these "
        "could. No executor gave a result that can be trusted."
    )
    assert "must be split" not in conclude([too_large, row("replicas", 1.0), row("pipeline", 8.0)], 2).text
    stage = refused("pipeline", "stage 0 needs 97 GB on one device, and cuda:0 has 79 GB")
    assert "must be split" not in conclude([stage, row("split", 1.0)], 2).text


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
