"""Ranks' differences from the reference -> passed, failed or not checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from partkit.data.job import RunJob
from partkit.data.replies import OutputDifference
from partkit.data.result import Check
from partkit.errors import UnsupportedError
from partkit.ranks.run_options import RunOptions, job_of
from partkit.runs.check import judged, make_reference, worse_of
from tests.planned import plan_of


@pytest.fixture(scope="module")
def job() -> RunJob:
    return RunJob(executor="pipeline", plan=plan_of("py:tests.sample_models:skips", 2))


def differs(by: float | None, *, largest: float = 0.5, matches: bool = True) -> OutputDifference:
    return OutputDifference(max_abs_diff=by, max_abs=largest, matches=matches)


def test_the_largest_difference_of_any_rank_counts_and_ranks_without_outputs_do_not(job: RunJob) -> None:
    told = [None, differs(2e-5), differs(5e-5)]
    assert judged(told, job, ran=True) == Check(max_abs_diff=5e-5, tolerance=1e-4, passed=True)
    assert judged([*told, differs(2e-4)], job) == Check(max_abs_diff=2e-4, tolerance=1e-4, passed=False)


def test_the_tolerance_grows_with_outputs_above_one_and_with_a_coarser_precision(job: RunJob) -> None:
    assert judged([differs(3e-4, largest=4.0)], job) == Check(max_abs_diff=3e-4, tolerance=4e-4, passed=True)
    tf32 = job.plan.model.model_copy(update={"tf32": True})
    coarse = job.model_copy(update={"plan": job.plan.model_copy(update={"model": tf32})})
    assert judged([differs(9e-3)], coarse) == Check(max_abs_diff=9e-3, tolerance=1e-2, passed=True)


def test_outputs_that_are_not_finite_or_of_another_shape_fail(job: RunJob) -> None:
    assert judged([differs(0.0), differs(None)], job) == Check(max_abs_diff=None, tolerance=1e-4, passed=False)
    assert judged([differs(0.0, matches=False)], job) == Check(max_abs_diff=0.0, tolerance=1e-4, passed=False)


def test_no_outputs_are_a_failed_check_only_where_there_should_have_been_some(job: RunJob) -> None:
    assert judged([None, None], job, ran=True) == Check(max_abs_diff=None, tolerance=1e-4, passed=False)
    assert judged([None, None], job) == Check(max_abs_diff=None, tolerance=1e-4, passed=None)


def test_a_failure_within_the_run_replaces_a_check_that_passed_before_it() -> None:
    small, large = (Check(max_abs_diff=by, tolerance=1.0, passed=True) for by in (0.1, 0.2))
    failed = Check(max_abs_diff=2.0, tolerance=1.0, passed=False)
    absent = Check(max_abs_diff=None, tolerance=1.0, passed=None)
    assert worse_of(small, absent) == small
    assert worse_of(small, large) == worse_of(large, small) == large
    assert worse_of(small, failed) == failed
    assert worse_of(failed, large) == failed


def test_a_model_larger_than_its_device_is_checked_in_windows_of_the_same_bits(tmp_path: Path) -> None:
    plan = plan_of("bert-tiny", 2, seq=8)
    in_windows = job_of(plan, "pipeline", RunOptions(device="cpu", memory_bytes=12_400_000))
    with pytest.raises(UnsupportedError) as raised:
        make_reference(in_windows, tmp_path, may_stream=False)
    assert str(raised.value) == "single needs 12.8 MB on one device, and --memory allows 12.4 MB"
    (tmp_path / "whole").mkdir()
    streamed = make_reference(in_windows, tmp_path)
    whole = make_reference(job_of(plan, "pipeline", RunOptions(device="cpu")), tmp_path / "whole")
    assert streamed.read_bytes() == whole.read_bytes()
