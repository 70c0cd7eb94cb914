"""Ranks' differences from the reference -> passed, failed or not checked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from partkit.data.job import RunJob
from partkit.data.replies import CastError, OutputDifference
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
    found, wanted = load_file(streamed), load_file(whole)
    assert {name: torch.equal(found[name], tensor) for name, tensor in wanted.items()} == dict.fromkeys(found, True)


def test_what_differs_is_told_where_something_does_and_the_worst_first(job: RunJob) -> None:
    near = differs(2e-4).model_copy(update={"what": "near"})
    far = differs(3e-4).model_copy(update={"what": "far"})
    other = differs(0.0, matches=False).model_copy(update={"what": "other shape"})
    assert judged([near, far], job).difference == "far"
    assert judged([near, far, other], job).difference == "other shape"
    assert judged([differs(1e-6).model_copy(update={"what": "rounding"})], job).difference is None


def test_outputs_without_a_finite_number_are_a_warning_and_no_agreement(job: RunJob) -> None:
    nothing = differs(0.0).model_copy(update={"not_finite": ("output logits",), "has_finite": False})
    check = judged([nothing], job, ran=True)
    assert check.passed is None
    assert check.warnings == (
        "output logits of the unsplit model hold no finite number, which agreement tells nothing about",
    )
    assert judged([nothing.model_copy(update={"has_finite": True})], job, ran=True).passed is True


@pytest.mark.parametrize(
    ("dtype", "share", "warnings"),
    [
        ("bfloat16", 0.24, ()),
        (
            "bfloat16",
            0.85,
            (
                "outputs in bfloat16 are off by 6.4 from those of the model as its author wrote it, 85% of the "
                "largest: rounding to bfloat16 explains 25%",
            ),
        ),
        ("float16", 0.04, ()),
    ],
)
def test_an_error_of_the_cast_is_told_and_warned_of_beyond_what_the_dtype_explains(
    job: RunJob, dtype: str, share: float, warnings: tuple[str, ...]
) -> None:
    cast = job.plan.model.model_copy(update={"dtype": dtype})
    ordered = job.model_copy(update={"plan": job.plan.model_copy(update={"model": cast})})
    told = differs(0.0).model_copy(update={"cast_error": CastError(max_abs_diff=6.4, share=share)})
    check = judged([told], ordered)
    assert (check.passed, check.cast_error, check.warnings) == (True, 6.4, warnings)
