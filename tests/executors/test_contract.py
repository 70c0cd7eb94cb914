"""Every registered executor on two CPU ranks gives the unsplit model's outputs, or says why it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from partkit.data.plan import Plan
from partkit.errors import UnsupportedError
from partkit.executors import EXECUTORS
from partkit.ranks.group import RankGroup
from partkit.ranks.run_options import RunOptions, job_of
from partkit.runs.rates import overall_rate
from partkit.runs.run import check_outputs, make_reference
from tests.planned import plan_of

OPTIONS = RunOptions(device="cpu")
REASONS = {
    "deepspeed": "deepspeed can't be imported",
    "deepspeed-inject": "deepspeed",
    "accelerate": "accelerate",
    "torch-pipelining": "torch.distributed.pipelining: RuntimeError: input tensor has to be contiguous",
}
"""How the reasons of executors begin that may be unable to run BERT on a CPU."""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of("bert-tiny", 2)


@pytest.fixture(scope="module")
def reference(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_reference(job_of(plan, "single", OPTIONS), tmp_path_factory.mktemp("reference"))


def why_not(group: RankGroup) -> str | None:
    """Load the executor; the reason where it cannot run the model."""
    try:
        group.call("load")
    except UnsupportedError as error:
        return str(error)
    return None


@pytest.mark.slow
@pytest.mark.parametrize("name", EXECUTORS)
def test_an_executor_gives_the_reference_s_outputs_or_says_why_it_cannot(
    name: str, plan: Plan, reference: Path
) -> None:
    with RankGroup(job_of(plan, name, OPTIONS)) as group:
        reason = why_not(group)
        if reason is not None:
            assert reason.startswith(REASONS[name])
            return
        check = check_outputs(group, reference)
        assert check.passed, check
        rate, _ = overall_rate(group.call("run", items=5), group.job)
        assert rate > 0
