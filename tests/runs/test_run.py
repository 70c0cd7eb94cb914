import json
import os
import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from partkit.errors import MachineError, MismatchError, RankFailedError, UsageError
from partkit.machine.devices import num_cuda_devices
from partkit.ranks.run_options import RunOptions
from partkit.runs.run import run_plan
from tests.listeners import listening, own_family
from tests.planned import plan_of

QUICK = RunOptions(device="cpu", items=12, latency_items=4)


@pytest.mark.parametrize(
    ("source", "num_stages", "replicas"),
    [("bert-tiny", 2, 1), ("py:tests.sample_models:skips", 4, 1), ("py:tests.sample_models:skips", 2, 2)],
)
def test_a_pipeline_gives_the_unsplit_models_outputs(source: str, num_stages: int, replicas: int) -> None:
    plan = plan_of(source, num_stages, replicas=replicas)
    options = RunOptions(device="cpu", items=12, latency_items=4, allow_code=True)
    addresses: set[IPv4Address | IPv6Address] = set()
    result = run_plan(plan, options, lambda *_: addresses.update(listening(own_family())))
    assert addresses, "gloo's own listeners are seen"
    assert all(address.is_loopback for address in addresses), addresses
    assert result is not None
    assert result.check.passed is True
    assert result.check.max_abs_diff == 0.0
    assert (result.items, result.batch, len(result.ranks)) == (12, plan.model.batch, num_stages + replicas - 1)
    assert [stage.index for stage in result.stages] == list(range(num_stages))
    assert result.samples_per_s > 0
    assert 0 < result.latency_s.p50 <= result.latency_s.p95


@pytest.mark.nightly
def test_a_plan_with_sizes_that_vary_runs_smaller_items() -> None:
    plan = plan_of("bert-tiny", 2, batch=4, seq=24, dynamic=("batch", "seq"))
    options = RunOptions(device="cpu", items=12, latency_items=4, sizes={"batch": 3, "seq": 11})
    result = run_plan(plan, options)
    assert result is not None
    assert (result.check.passed, result.check.max_abs_diff, result.batch) == (True, 0.0, 3)
    assert "items are smaller than the plan's largest: its prediction does not hold for them" in result.warnings


def test_sizes_are_refused_before_anything_starts() -> None:
    with pytest.raises(UsageError) as raised:
        run_plan(plan_of("bert-tiny", 2), RunOptions(device="cpu", sizes={"batch": 2}))
    assert raised.value.message == "--batch 2 has no effect: the plan of bert-tiny is for fixed shapes"


@pytest.mark.parametrize("executor", ["single", "dispatch", "fsdp"])
def test_every_other_executor_gives_the_unsplit_models_outputs(executor: str) -> None:
    plan = plan_of("py:tests.sample_models:stack", 2, executor=executor)
    result = run_plan(plan, replace(QUICK, allow_code=True))
    assert result is not None
    assert (result.check.passed, result.check.max_abs_diff) == (True, 0.0)
    own_rates = [use.samples_per_s for use in result.ranks]
    if executor == "fsdp":  # each rank runs items of its own
        assert own_rates == pytest.approx([result.samples_per_s / 2] * 2, rel=0.1)
    else:
        assert own_rates == [None]


def test_a_plan_that_names_code_starts_nothing_without_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of("py:tests.sample_models:skips", 2)
    monkeypatch.setattr("partkit.runs.run.RankGroup", None)  # starting ranks would raise
    with pytest.raises(UsageError) as raised:
        run_plan(plan, QUICK)
    assert str(raised.value) == (
        "the plan runs code of its own (py:tests.sample_models:skips), which needs consent; "
        "read that code, then add --allow-code"
    )


def test_a_damaged_checkpoint_ends_a_run_before_any_item(tmp_path: Path) -> None:
    config = LlamaConfig(
        num_hidden_layers=2, num_attention_heads=2, hidden_size=16, intermediate_size=32, vocab_size=50
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    plan = plan_of(f"hf:{tmp_path}", 2)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.norm.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(RankFailedError) as raised:
        run_plan(plan, RunOptions(device="cpu", items=12, check=False))
    assert raised.value.exit_code == 2
    assert str(raised.value) == (
        f"{file} has no tensor for 'model.norm.weight' of LlamaForCausalLM; "
        "the checkpoint is of another model or task, or incomplete"
    )


def test_an_unknown_executor_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as raised:
        run_plan(plan_of("bert-tiny", 2, executor="teleport"), QUICK)
    assert raised.value.message == "there is no executor 'teleport'"


@pytest.mark.parametrize("executor", ["none", "pipeline"])
def test_a_plan_whose_stages_send_back_and_forth_is_refused_before_anything_starts(executor: str) -> None:
    plan = plan_of("bert-tiny", 2).model_copy(update={"contiguous": False, "executor": executor})
    with pytest.raises(MismatchError) as caught:
        run_plan(plan)
    assert str(caught.value) == (
        "no executor can run this plan of 2 stages: they send values back and forth, and each runs once for an item; "
        "plan again without --non-contiguous"
    )


@pytest.mark.skipif(num_cuda_devices() > 0, reason="this machine has CUDA devices")
def test_a_plan_for_gpus_says_what_to_do_where_there_are_none() -> None:
    plan = plan_of("bert-tiny", 2)
    gpus = tuple(device.model_copy(update={"type": "cuda"}) for device in plan.cluster.devices)
    plan = plan.model_copy(update={"cluster": plan.cluster.model_copy(update={"devices": gpus})})
    with pytest.raises(MachineError) as raised:
        run_plan(plan)
    assert str(raised.value) == (
        "the plan is for 2 CUDA devices and this machine has none; run it with --device cpu, or re-plan here with "
        "'partkit plan'"
    )


def torchrun(plan_file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "partkit_cli", "run", str(plan_file), "--items", "12", "--json", "--allow-code"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([".", "cli"]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment, check=False)


def test_torchrun_ranks_run_the_plan_and_rank_0_tells_the_result(tmp_path: Path) -> None:
    done = torchrun(plan_of("py:tests.sample_models:skips", 2).save(tmp_path / "plan.json"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["kind"], result["check"]["max_abs_diff"], len(result["ranks"])) == ("run", 0.0, 2)


def test_a_launch_of_the_wrong_number_of_ranks_is_refused_before_they_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    launch = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    for name, value in (launch | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}).items():  # nobody listens there
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as raised:
        run_plan(plan_of("bert-tiny", 2), QUICK)
    assert str(raised.value) == (
        "the plan needs 2 ranks and the launcher started 1 (the environment makes this rank 0 of 1 at 127.0.0.1:1); "
        "start 2, or re-plan with --stages 1"
    )


def test_ranks_on_several_hosts_need_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    launch = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}
    for name, value in (launch | {"MASTER_ADDR": "10.1.2.3", "MASTER_PORT": "1"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PARTKIT_SECRET", raising=False)
    with pytest.raises(UsageError) as raised:
        run_plan(plan_of("bert-tiny", 2), QUICK)
    assert raised.value.message == (
        "ranks on several hosts take orders from whoever reaches the launcher's store, unless they share a secret"
    )


@pytest.mark.parametrize(
    ("executor", "devices"), [("pipeline", (0, 0, 1, 1)), ("pipeline", (0, 1, 0, 1)), ("split", None)]
)
def test_one_rank_may_host_several_stages(executor: str, devices: tuple[int, ...] | None) -> None:
    plan = plan_of("py:tests.sample_models:skips", 4, executor=executor)
    result = run_plan(plan, RunOptions(device="cpu", items=12, latency_items=4, allow_code=True, devices=devices))
    assert result is not None
    assert (result.check.passed, result.check.max_abs_diff) == (True, 0.0)
    assert [stage.index for stage in result.stages] == [0, 1, 2, 3]
    assert len(result.ranks) == (1 if executor == "split" else 2)


def test_devices_of_another_number_than_stages_are_refused() -> None:
    with pytest.raises(UsageError) as raised:
        run_plan(plan_of("bert-tiny", 2), RunOptions(device="cpu", devices=(0, 0, 1)))
    assert str(raised.value) == (
        "3 devices were given for a plan of 2 places; give one for each stage (and replica), as in --devices 0,1"
    )


def test_latency_at_a_rate_counts_from_the_arrival() -> None:
    plan = plan_of("py:tests.sample_models:skips", 2)
    options = RunOptions(device="cpu", items=30, check=False, allow_code=True)
    slow = run_plan(plan, replace(options, rate_per_s=20.0))
    flooded = run_plan(plan, replace(options, items=2000, rate_per_s=1e6))
    assert slow is not None
    assert flooded is not None
    assert slow.samples_per_s < 30
    assert flooded.samples_per_s > slow.samples_per_s
    assert flooded.latency_s.p95 > 1.3 * flooded.latency_s.p50  # the queue grows all the time
    assert any("arrived at random" in warning for warning in slow.warnings)


def test_a_rate_is_refused_where_items_cannot_wait_for_it() -> None:
    with pytest.raises(UsageError) as raised:
        run_plan(plan_of("bert-tiny", 2, executor="fsdp"), RunOptions(device="cpu", rate_per_s=5.0))
    assert str(raised.value) == (
        "items cannot arrive at a rate with fsdp; use one of pipeline, pipeline-nccl, split, or leave it out"
    )
