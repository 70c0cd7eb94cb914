"""How benchmarks measure: everything loaded first, results kept, problems told."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks import side_by_side
from benchmarks.side_by_side import Bench, Match, Run
from partkit.data.result import RunResult
from partkit.models.sources import parse_model
from partkit.ranks.run_options import RunOptions
from partkit.runs.compare import CompareOptions
from tests.planned import plan_of

OPTIONS = RunOptions(device="cpu", items=12, latency_items=2, allow_code=True)
STACK = "py:tests.sample_models:stack"


@pytest.mark.nightly
@pytest.mark.slow
def test_runs_of_one_model_share_a_reference_and_a_fault_spoils_no_other(tmp_path: Path) -> None:
    plan = plan_of(STACK, 2)
    other = plan.model_copy(update={"model": plan.model.model_copy(update={"structure_sha256": "0" * 64})})
    bench = Bench(tmp_path, limit_s=250)
    results = bench.runs([Run("a", plan, OPTIONS), Run("wrong", other, OPTIONS), Run("b", plan, OPTIONS)])
    assert sorted(results) == ["a", "b"], bench.problems
    assert all(result.check.max_abs_diff == 0.0 for result in results.values())
    assert f"the plan was made for another structure of {STACK}" in bench.problems["wrong"]


@pytest.mark.slow
def test_profiles_are_measured_once(tmp_path: Path) -> None:
    called: list[int] = []
    bench = Bench(tmp_path, limit_s=60)
    profiles = bench.profiles({"profile": parse_model("bert-tiny")}, "cpu", lambda: called.append(1))
    assert profiles["profile"].method == "measured"
    assert bench.profiles({"profile": parse_model("bert-tiny")}, "cpu") == profiles
    assert called == [1]


def test_what_is_there_is_kept_and_without_time_nothing_starts(tmp_path: Path) -> None:
    plan = plan_of(STACK, 2)
    golden = Path(__file__).parent.parent / "golden" / "run.v1.json"
    (tmp_path / "kept.json").write_text(golden.read_text(encoding="utf-8"), encoding="utf-8")
    bench = Bench(tmp_path, limit_s=0)
    assert bench.runs([Run("kept", plan, OPTIONS), Run("late", plan, OPTIONS)]) == {"kept": RunResult.load(golden)}
    assert bench.matches([Match("match", plan, CompareOptions(device="cpu"))]) == {}
    late = "not run: out of time; give the same command again"
    assert bench.problems == {"late": late, "match": late}


def test_a_wave_starts_only_where_the_longest_so_far_would_still_end_in_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path, limit_s=60)
    assert bench._has_time("first", bench._longest_s)
    with bench._timed():
        time.sleep(0.05)
    assert 0.05 <= bench._longest_s < 60
    bench._longest_s = 61
    assert not bench._has_time("second", bench._longest_s)
    assert list(bench.problems) == ["second"]


def test_as_many_are_loaded_at_once_as_devices_have_memory_for() -> None:
    runs = [Run(str(number), plan_of(STACK, 2), OPTIONS) for number in range(3)]
    waves = list(side_by_side._waves(runs, lambda run: 8, most=20))
    assert [[run.name for run in wave] for wave in waves] == [["0", "1"], ["2"]]
