"""The pipeline on CUDA, every way that items can go: ``pytest -m gpu`` on a machine with two GPUs."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch.utils import _pytree as pytree

from partkit.data.job import LoopGraph
from partkit.data.orders import Load, RunItems
from partkit.data.result import Row
from partkit.errors import OutOfMemoryError, RankFailedError
from partkit.machine.devices import num_cuda_devices
from partkit.models.inputs import synthetic_inputs
from partkit.models.sources import parse_model
from partkit.ranks.group import RankGroup
from partkit.ranks.run_options import RunOptions, job_of
from partkit.runs.compare import CompareOptions, compare_executors
from partkit.runs.device_speeds import with_measured_speeds
from partkit.runs.doctor.examine import examine_machine
from partkit.runs.filling_times import with_filling
from partkit.runs.machine_cluster import machine_cluster
from partkit.runs.open_pipeline import open_pipeline
from partkit.runs.profile_model import profile_model
from partkit.runs.run import run_plan
from tests.faults.acting import VARIABLE
from tests.planned import plan_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(num_cuda_devices() < 2, reason="needs two CUDA devices"),
]
OPTIONS = RunOptions(device="cuda", items=200, latency_items=10, allow_code=True, timeout_s=120)
SKIPS = "py:tests.sample_models:skips"


@pytest.mark.parametrize("loop_graph", ["off", "on"])
@pytest.mark.parametrize("executor", ["pipeline", "pipeline-nccl"])
@pytest.mark.parametrize("peer_access", [True, False], ids=["peers", "no peers"])
def test_two_ranks_give_the_unsplit_models_outputs(
    executor: str, peer_access: bool, loop_graph: LoopGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NCCL_P2P_DISABLE", "0" if peer_access else "1")
    options = replace(OPTIONS, loop_graph=loop_graph)
    result = run_plan(plan_of("bert-tiny", 2, executor=executor), options)
    assert result is not None
    assert result.check.passed is True
    assert (result.items, len(result.ranks)) == (200, 2)
    assert all(0 < use.busy <= 1 for use in result.ranks)
    loops = [note for note in result.notes if note.startswith("16 items per launch")]
    assert len(loops) == (2 if loop_graph == "on" else 0)


def test_outputs_are_read_before_another_slot_overwrites_them() -> None:
    """Small outputs beside large intermediates: with memory shared by the graphs of all slots, ViT's were lost."""
    result = run_plan(plan_of("vit", 2), OPTIONS)
    assert result is not None
    assert result.check.passed is True


@pytest.mark.parametrize("num_slots", [1, 2])
@pytest.mark.parametrize("executor", ["pipeline", "pipeline-nccl", "split"])
def test_values_that_skip_stages_on_gpus_in_turn(executor: str, num_slots: int) -> None:
    plan = plan_of(SKIPS, 4, executor=executor)
    plan = plan.model_copy(update={"constraints": plan.constraints.model_copy(update={"num_slots": num_slots})})
    stages = tuple(stage.model_copy(update={"devices": (stage.index % 2,)}) for stage in plan.stages)
    result = run_plan(plan.model_copy(update={"stages": stages}), OPTIONS)
    assert result is not None
    assert result.check.passed is True


def test_a_rank_that_hosts_several_stages_and_one_that_hosts_one() -> None:
    options = replace(OPTIONS, devices=(0, 0, 1))
    result = run_plan(plan_of(SKIPS, 3), options)
    assert result is not None
    assert result.check.passed is True


def test_sizes_that_vary_over_copies() -> None:
    plan = plan_of("bert-tiny", 2, batch=4, seq=24, dynamic=("batch", "seq"))
    result = run_plan(plan, replace(OPTIONS, sizes={"batch": 3, "seq": 11}))
    assert result is not None
    assert result.check.passed is True


def test_links_are_measured_and_a_profile_too() -> None:
    cluster = machine_cluster(2, device="cuda", refresh=True)
    assert all(1e9 < link.bytes_per_s < 1e12 and 0 < link.latency_s < 1e-3 for link in cluster.links)
    assert profile_model("bert-tiny", device="cuda", refresh=True).device.type == "cuda"


@pytest.mark.parametrize(
    "name", ["transformer_layer", "sequence_to_sequence", "attention_in_a_convolution_net", "views_of_every_kind"]
)
def test_kernels_that_give_their_results_in_other_memory_orders(name: str) -> None:
    result = run_plan(plan_of(f"py:tests.layout_models:{name}", 2), OPTIONS)
    assert result is not None
    assert result.check.passed is True


@pytest.mark.parametrize("executor", ["pipeline", "split"])
def test_a_stage_that_no_cuda_graph_can_hold_runs_without_one_and_says_so(executor: str) -> None:
    source = "py:tests.layout_models:kernel_that_waits"
    profile = profile_model(source, device="cuda", refresh=True)
    assert all(node.time_s > 0 for node in profile.nodes if node.op.startswith("partkit_tests"))
    result = run_plan(plan_of(source, 2, executor=executor), OPTIONS)
    assert result is not None
    assert result.check.passed is True
    told = [note for note in result.notes if "without a CUDA graph" in note]
    assert len(told) == 1
    assert told[0].endswith("(node scaled_by_its_largest)")


def test_the_doctor_measures_every_path_and_finds_each_byte_as_it_was_sent() -> None:
    found, cluster = examine_machine(device="cuda")
    assert [each.name for each in found.checks if each.group == "ranks" and each.status == "broken"] == []
    over = {link.over for link in found.links}
    reach = all(link.peer_access for link in found.links)
    assert over == ({"copies", "nccl", "host"} if reach else {"copies", "nccl"})
    assert all(link.changed_bytes == 0 and link.verified_bytes > 0 for link in found.links)
    assert all((device.calls_per_s or 0) > 1000 and (device.copy_engines or 0) >= 1 for device in found.devices)
    assert cluster is not None
    assert len(cluster.devices) == len(found.devices) >= 2


def test_each_gpu_is_profiled_by_itself() -> None:
    profile = profile_model("bert-tiny", device="cuda")
    cluster = with_measured_speeds(profile, machine_cluster(2, device="cuda"), each=True)
    assert all(0.2 < device.speed < 5 for device in cluster.devices[:2])


@pytest.mark.parametrize("executor", ["pipeline", "pipeline-nccl", "split"])
def test_a_recorded_run_tells_when_stages_computed_in_order(executor: str) -> None:
    result = run_plan(plan_of("bert-tiny", 2, executor=executor), replace(OPTIONS, records=True))
    assert result is not None
    for stage in (0, 1):
        computed = [event for event in result.timeline if event.stage == stage and event.track == "compute"]
        assert [event.item for event in computed] == list(range(200))
        assert all(before.end_s <= after.begin_s + 1e-5 for before, after in pairwise(computed))
    ends = {event.item: event.end_s for event in result.timeline if (event.stage, event.track) == (0, "compute")}
    begins = {event.item: event.begin_s for event in result.timeline if (event.stage, event.track) == (1, "compute")}
    assert all(ends[item] <= begins[item] + 5e-5 for item in ends), "clocks of two GPUs agree to 50 microseconds"


@pytest.mark.parametrize("executor", ["pipeline", "pipeline-nccl", "split", "replicas", "single-graph"])
def test_lanes_give_the_unsplit_models_outputs(executor: str) -> None:
    plan = plan_of("bert-tiny", 2, executor=executor).model_copy(update={"lanes": 4})
    result = run_plan(plan, OPTIONS)
    assert result is not None
    assert result.check.passed is True
    assert result.lanes == 4
    assert all(0 < use.busy <= 1 for use in result.ranks)


@pytest.mark.parametrize("peer_access", [True, False], ids=["peers", "no peers"])
@pytest.mark.parametrize("source", ["bert-tiny", SKIPS])
def test_lanes_change_no_bit_of_an_output(source: str, peer_access: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_P2P_DISABLE", "0" if peer_access else "1")
    plan = plan_of(source, 2)
    items = [synthetic_inputs(plan.model, number) for number in range(40)]
    outputs = []
    for lanes in (1, 4):
        filled = plan.model_copy(update={"lanes": lanes})
        with open_pipeline(filled, device="cuda", copy=True, allow_code=True) as pipeline:
            outputs.append(list(pipeline.map_flat(items)))
    for one, other in zip(*outputs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_lanes_of_several_stages_on_a_gpu_and_of_replicas() -> None:
    plan = plan_of(SKIPS, 3).model_copy(update={"lanes": 3})
    result = run_plan(plan, replace(OPTIONS, devices=(0, 0, 1)))
    assert result is not None
    assert result.check.passed is True
    replicated = plan_of("bert-tiny", 1, replicas=2).model_copy(update={"lanes": 2})
    result = run_plan(replicated, OPTIONS)
    assert result is not None
    assert result.check.passed is True


@pytest.mark.parametrize("source", ["bert-tiny", "py:tests.sample_models:apart"])
def test_microbatches_in_lanes_give_each_item_its_own_output(source: str) -> None:
    drawn = {} if source.startswith("py:") else {"batch": 6}
    planned = plan_of(source, 2, dynamic=("batch",), **drawn)
    plan = planned.model_copy(update={"lanes": 2, "microbatch": 6, "max_delay_s": 2e-3})
    single = plan.model.resized({"batch": 1})
    items = [synthetic_inputs(single, number) for number in range(50)]
    alone = planned.model_copy(update={"microbatch": 1})
    with open_pipeline(alone, device="cuda", copy=True, allow_code=True) as pipeline:
        wanted = list(pipeline.map_flat(items))
    with open_pipeline(plan, device="cuda", copy=True, allow_code=True) as pipeline:
        mapped = list(pipeline.map_flat(items))
        submitted = [pytree.tree_leaves(future.result()) for future in [pipeline.submit(item) for item in items]]
    for one, two, three in zip(wanted, mapped, submitted, strict=True):
        for a, b, c in zip(one, two, three, strict=True):
            torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(c, a, rtol=1e-3, atol=1e-4)


def test_lanes_and_batches_are_timed_on_a_gpu() -> None:
    spec = parse_model("bert-tiny", batch=4, dynamic=("batch",))
    profile = profile_model(spec, device="cuda")
    filled = with_filling(profile, lanes=2, options=RunOptions(device="cuda"))
    assert [(each.batch, each.lanes) for each in filled.filling] == [(1, 1), (1, 2), (4, 1), (4, 2)]
    launch_s = {(each.batch, each.lanes): each.launch_s for each in filled.filling}
    assert launch_s[1, 2] < launch_s[1, 1] * 1.05


ACTING = "py:tests.faults.acting:make"


@pytest.mark.parametrize("executor", ["pipeline", "split"])
@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("kill", "was ended by SIGKILL"),
        ("stop", "was stopped by a signal or a debugger during 'run' and gave no answer within 5 s"),
        ("allocate", "memory"),
    ],
)
def test_a_fault_on_a_gpu_names_its_rank_alone(
    executor: str, action: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operation that faults waits for no device and no CUDA graph holds it."""
    told = tmp_path / "act"
    monkeypatch.setenv(VARIABLE, str(told))
    plan = plan_of(ACTING, 2, executor=executor)
    job = job_of(plan, executor, replace(OPTIONS, timeout_s=60, loop_graph="off"))
    with RankGroup(job) as group:
        group.call(Load())
        told.write_text(action)
        begin = time.monotonic()
        with pytest.raises(RankFailedError) as raised:
            group.call(RunItems(num_items=4), timeout_s=5)
        assert time.monotonic() - begin < 15
    rank = 1 if executor == "pipeline" else 0
    assert f"rank {rank} of " in raised.value.message
    assert message in raised.value.message
    assert isinstance(raised.value, OutOfMemoryError) is (action == "allocate")


@pytest.mark.parametrize("executor", ["pipeline", "split"])
def test_a_device_that_another_process_fills_is_out_of_memory_and_says_so(executor: str) -> None:
    program = "import sys, torch; free, _ = torch.cuda.mem_get_info(1); "
    program += "held = torch.empty(free - (900 << 20), dtype=torch.uint8, device='cuda:1'); print('held', flush=True); "
    program += "sys.stdin.read()"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as tenant:
        assert tenant.stdout is not None
        assert tenant.stdout.readline() == "held\n"
        try:
            with pytest.raises(OutOfMemoryError, match="memory"):
                run_plan(plan_of("gpt2", 2, executor=executor, batch=16, seq=1024), OPTIONS)
        finally:
            tenant.kill()


def test_a_comparison_goes_on_where_one_executor_loses_a_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "act"
    monkeypatch.setenv(VARIABLE, str(told))

    def once(row: Row, round_number: int, _: int) -> None:
        if round_number == 1 and row.executor == "split" and not told.with_suffix(".done").exists():
            told.with_suffix(".done").touch()
            told.write_text("kill")

    options = CompareOptions(device="cuda", executors=("pipeline", "split"), rounds=4, allow_code=True)
    comparison = compare_executors(plan_of(ACTING, 2), options, standing=once)
    status = sorted(row.status for row in comparison.rows)
    assert status == ["failed", "ok"], [row.reason for row in comparison.rows]
    (failed,) = [row for row in comparison.rows if row.status == "failed"]
    assert "was ended by SIGKILL" in str(failed.reason)


def test_items_go_on_where_a_gpus_rank_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "act"
    monkeypatch.setenv(VARIABLE, str(told))
    items = [torch.full((2, 4), float(number)) for number in range(40)]
    with open_pipeline(plan_of(ACTING, 2), device="cuda", max_in_flight=4, allow_code=True, restarts=1) as pipeline:
        whole = [output.clone() for output in pipeline.map(items)]
        outputs = []
        for number, output in enumerate(pipeline.map(items)):
            outputs.append(output.clone())
            if number == 10:
                told.write_text("kill")
        assert len(pipeline.restarted) == 1
    assert torch.equal(torch.stack(outputs), torch.stack(whole))
