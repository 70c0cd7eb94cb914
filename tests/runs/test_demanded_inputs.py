"""Models with demands on their inputs, from profile to result: examples where drawn inputs do not do."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from partkit.data.orders import Load
from partkit.data.plan import Plan
from partkit.models.sources import load_model
from partkit.ranks.group import RankGroup
from partkit.ranks.run_options import RunOptions, job_of
from partkit.runs.check import check_outputs, make_reference
from partkit.runs.compare import CompareOptions, compare_executors
from partkit.runs.profile_model import profile_model
from partkit.runs.run import run_plan
from tests.planned import plan_of

OPTIONS = RunOptions(device="cpu", allow_code=True, seconds=0.1, latency_items=1)


@pytest.fixture(scope="module")
def factors() -> Plan:
    """A plan by way of a profile, where the inputs are decided."""
    profile = profile_model("py:tests.demanding_models:factors", device="cpu")
    return plan_of("py:tests.demanding_models:factors", 2).model_copy(update={"model": profile.model})


NOTE = (
    "every item is the example that came with the model, since on drawn inputs it raises _LinAlgError: "
    "linalg.cholesky: The factorization could not be completed because the input is not positive-definite"
)


def test_a_model_that_takes_positive_definite_inputs_only_is_run_on_its_example_and_says_so(factors: Plan) -> None:
    result = run_plan(factors, OPTIONS)
    assert result is not None
    assert result.check.passed
    assert result.notes[0].startswith(NOTE), result.notes


def test_every_executor_of_a_comparison_is_fed_the_example(factors: Plan) -> None:
    names = ("single", "streamed", "dispatch")
    compared = compare_executors(
        factors, CompareOptions(executors=names, rounds=1, seconds_per_round=0.05, device="cpu", allow_code=True)
    )
    assert [(row.executor, row.status, row.max_abs_diff) for row in compared.rows] == [
        (name, "ok", 0.0) for name in names
    ]
    assert compared.warnings[0].startswith(NOTE)


def test_padded_places_that_eager_makes_zero_are_no_difference(tmp_path: Path) -> None:
    plan = plan_of("py:tests.demanding_models:keeps_what_is_told", 2)
    loaded = load_model(plan.model)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The PyTorch API of nested tensors")  # once a process
        outputs = loaded.materialise()(*loaded.args)
    assert not outputs[0, 2].any(), "the fast path of attention is taken, which the graph does not have"
    reference = make_reference(job_of(plan, "single", OPTIONS), tmp_path)
    with RankGroup(job_of(plan, "pipeline", OPTIONS)) as group:
        group.call(Load())
        check = check_outputs(group, reference)
    assert (check.passed, check.difference) == (True, None)


COMPARED = CompareOptions(
    executors=("single", "pipeline"), rounds=1, seconds_per_round=0.05, device="cpu", allow_code=True
)


def test_a_comparison_goes_on_where_no_reference_can_be_made() -> None:
    compared = compare_executors(plan_of("py:tests.demanding_models:kept", 2), COMPARED)
    single, pipeline = compared.rows
    assert single.status == "failed"
    assert "TypeError: cannot pickle '_thread.lock' object" in (single.reason or "")
    assert (pipeline.status, pipeline.reason) == ("invalid", "its outputs are unchecked, as there is no reference")
    assert pipeline.samples_per_s
    assert not compared.valid
    (reason,) = compared.reasons
    assert reason.startswith(
        "outputs are unchecked, as the unsplit model gave none to check them against: rank 0 of 1 (single on cpu) "
    )
    assert reason.endswith(
        "; run it by itself with 'partkit compare py:tests.demanding_models:kept --with single', and mend it"
    )


def test_weights_that_are_derived_are_compared() -> None:
    compared = compare_executors(plan_of("py:tests.demanding_models:normed", 2), COMPARED)
    assert [(row.executor, row.status) for row in compared.rows] == [("single", "ok"), ("pipeline", "ok")]
