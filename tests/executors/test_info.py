"""What the table of executors says is true of their classes."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from partkit.errors import UsageError
from partkit.executors import EXECUTORS, ExecutorInfo, executor_info, require_executor
from partkit.executors.info import class_of
from partkit.executors.pipeline.executor import PipelineExecutor
from partkit.executors.pipeline.replicas import ReplicasExecutor
from partkit.executors.pipeline.split import SplitExecutor
from partkit.executors.whole.fsdp import FsdpExecutor
from partkit.executors.whole.streamed import StreamedExecutor
from partkit.ranks.run_options import RunOptions, job_of
from partkit.stages import cut
from tests.planned import plan_of


def source_of(name: str) -> str:
    """The module that an executor's class is in."""
    return inspect.getsource(sys.modules[class_of(EXECUTORS[name]).__module__])


@pytest.mark.parametrize("name", EXECUTORS)
def test_an_executor_needs_capture_exactly_where_it_cuts_the_captured_graph(name: str) -> None:
    info, made = EXECUTORS[name], class_of(EXECUTORS[name])
    assert info.needs_capture == issubclass(made, PipelineExecutor | StreamedExecutor)
    assert cut.cut_plan.__name__ in inspect.getsource(PipelineExecutor.load)
    if not info.needs_capture:
        assert "capture_job_model" not in source_of(name)
        assert "partkit.stages" not in source_of(name)


@pytest.mark.parametrize("name", EXECUTORS)
def test_an_executor_runs_the_plan_s_stages_where_it_is_a_pipeline_of_the_plan_itself(name: str) -> None:
    made = class_of(EXECUTORS[name])
    assert EXECUTORS[name].runs_stages == (issubclass(made, PipelineExecutor) and made is not ReplicasExecutor)
    if EXECUTORS[name].runs_stages:
        assert callable(made.run_at_rate), "items can arrive at a rate"


@pytest.mark.parametrize("name", EXECUTORS)
def test_an_executor_s_package_is_imported_in_its_file_alone(name: str) -> None:
    package = EXECUTORS[name].package
    for peer in ("deepspeed", "accelerate"):
        assert (f'import_package("{peer}"' in source_of(name)) == (peer == package)


@pytest.mark.parametrize("name", EXECUTORS)
def test_a_job_has_the_ranks_and_devices_that_the_table_tells(name: str) -> None:
    info, job = EXECUTORS[name], job_of(plan_of("bert-tiny", 2), name, RunOptions(device="cpu"))
    used = {device for rank in range(job.num_ranks) for device in job.devices_of(rank)}
    assert len(used) == (1 if info.on_one_device else 2)
    assert job.num_ranks == (1 if info.in_one_rank else 2)
    assert info.in_one_rank >= info.on_one_device, "one device has one rank"


def test_the_whole_model_is_held_where_nothing_of_it_is_left_elsewhere() -> None:
    whole = {name for name, info in EXECUTORS.items() if info.holds_whole_model}
    of_one_device = {name for name, info in EXECUTORS.items() if info.on_one_device}
    replicated = {
        name
        for name, info in EXECUTORS.items()
        if class_of(info) is ReplicasExecutor
        or (issubclass(class_of(info), FsdpExecutor) and not vars(class_of(info)).get("reshards", True))
    }
    assert whole == (of_one_device - {"streamed"}) | replicated


def test_places_of_a_split_are_all_in_one_rank() -> None:
    one_rank = {name for name, info in EXECUTORS.items() if info.in_one_rank and info.runs_stages}
    assert one_rank == {name for name, info in EXECUTORS.items() if issubclass(class_of(info), SplitExecutor)}


def test_a_class_of_the_user_s_own_has_a_rank_a_device_and_needs_consent() -> None:
    assert executor_info("mine:Executor") == ExecutorInfo("mine:Executor")
    assert require_executor("mine:Executor", allow_code=True) == ExecutorInfo("mine:Executor")
    with pytest.raises(UsageError) as raised:
        require_executor("mine:Executor")
    assert str(raised.value) == "the executor mine:Executor is Python code outside partkit; allow it with --allow-code"


def test_the_table_is_read_without_torch() -> None:
    code = "import sys, partkit.executors, partkit.runs.verdict; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
