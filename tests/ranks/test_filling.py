"""Lanes and microbatches that an executor does not have are refused, not run as one."""

from __future__ import annotations

import pytest

from partkit.errors import MismatchError, UsageError
from partkit.ranks.filling import filled_for
from partkit.ranks.run_options import RunOptions, job_of, require_request
from partkit.runs.measure import Measured
from partkit.runs.run_warnings import warnings_of
from tests.planned import plan_of


def test_lanes_that_an_executor_does_not_have_are_refused() -> None:
    plan = plan_of("bert-tiny", 2).model_copy(update={"lanes": 4})
    with pytest.raises(MismatchError, match="the plan asks for 4 lanes, which fsdp does not have"):
        require_request(plan, "fsdp", RunOptions(device="cpu"))


def test_lanes_of_a_plan_are_for_gpus_and_the_reader_of_a_run_on_the_cpu_is_told() -> None:
    plan = plan_of("bert-tiny", 2).model_copy(update={"lanes": 4})
    job = job_of(plan, "pipeline", RunOptions(device="cpu"))
    assert (job.lanes, job.num_slots) == (1, plan.constraints.num_slots)
    measured = Measured({0: 0.01, 1: 0.01}, [], 20, 100.0, 100.0, [0.1] * 20)
    told = "the plan's 4 lanes are for GPUs: on the CPU a stage computes one item at a time"
    assert told in warnings_of(plan, job, measured)


def test_a_timeline_is_of_one_lane() -> None:
    plan = plan_of("bert-tiny", 2).model_copy(update={"lanes": 4})
    with pytest.raises(UsageError, match="a timeline is of stages that compute one item at a time, and the plan has 4"):
        require_request(plan, "pipeline", RunOptions(device="cpu", records=True))


def test_executors_without_lanes_are_compared_with_one() -> None:
    plan = plan_of("bert-tiny", 2).model_copy(update={"lanes": 4})
    assert [filled_for(plan, name).lanes for name in ("pipeline", "replicas", "fsdp")] == [4, 4, 1]
