"""Every registered executor on two CPU ranks gives the unsplit model's outputs, or says why it cannot."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from partkit.data.orders import Load, RunItems
from partkit.data.plan import Plan
from partkit.errors import UnsupportedError
from partkit.executors import EXECUTORS
from partkit.ranks.group import RankGroup
from partkit.ranks.run_options import RunOptions, job_of
from partkit.runs.check import check_outputs, make_reference
from partkit.runs.rates import overall_rate
from tests.planned import plan_of

OPTIONS = RunOptions(device="cpu", allow_code=True)
WITHOUT_ACCELERATE = (
    "accelerate can't be imported (it isn't installed); pip install 'accelerate>=1.0'"
    if find_spec("accelerate") is None
    else "accelerate's dispatch_model places layers on CUDA devices, two or more, "
    "and this comparison is on 2 cpu devices"
)
WITHOUT_DEEPSPEED = "deepspeed can't be imported (it isn't installed); DS_BUILD_OPS=0 pip install 'deepspeed>=0.19.6'"
REASONS = {
    "accelerate": WITHOUT_ACCELERATE,
    "transformers-pp": "transformers' DistributedConfig(pp_size=N) cuts causal language models made of embed_tokens, "
    "layers, norm and lm_head, and BertForMaskedLM has no layers, embed_tokens, norm, lm_head",
} | (dict.fromkeys(("deepspeed", "deepspeed-inject"), WITHOUT_DEEPSPEED) if find_spec("deepspeed") is None else {})
"""Why executors cannot run BERT on this machine's CPU; every other one must."""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of("bert-tiny", 2)


@pytest.fixture(scope="module")
def reference(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_reference(job_of(plan, "single", OPTIONS), tmp_path_factory.mktemp("reference"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EXECUTORS if name not in REASONS])
def test_an_executor_gives_the_outputs_of_the_reference(name: str, plan: Plan, reference: Path) -> None:
    assert_as_reference(name, plan, reference)


@pytest.mark.parametrize("name", REASONS)
def test_an_executor_that_cannot_run_a_model_says_why(name: str, plan: Plan) -> None:
    with RankGroup(job_of(plan, name, OPTIONS)) as group, pytest.raises(UnsupportedError) as raised:
        group.call(Load())
    assert str(raised.value) == REASONS[name]


@pytest.mark.slow
def test_transformers_own_pipeline_runs_a_decoder(tmp_path: Path) -> None:
    plan = plan_of("llama-tiny", 2)
    reference = make_reference(job_of(plan, "single", OPTIONS), tmp_path)
    assert_as_reference("transformers-pp", plan, reference)


def test_the_library_s_own_pipeline_runs_plain_layers(tmp_path: Path) -> None:
    plan = plan_of("py:tests.sample_models:stack", 2)
    reference = make_reference(job_of(plan, "single", OPTIONS), tmp_path)
    assert_as_reference("torch-pipelining", plan, reference)


def assert_as_reference(name: str, plan: Plan, reference: Path) -> None:
    with RankGroup(job_of(plan, name, OPTIONS)) as group:
        group.call(Load())
        check = check_outputs(group, reference)
        assert check.passed, check
        rate, _ = overall_rate(group.call(RunItems(num_items=5)), group.job)
        assert rate > 0
