"""Memory that ran out is told in numbers."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest
import torch

from partkit.data.job import RunJob
from partkit.data.plan import Plan
from partkit.errors import OutOfMemoryError
from partkit.machine import memory
from partkit.machine.memory import Tenant
from partkit.ranks import out_of_memory
from partkit.ranks.failure import error_of, failure_of
from partkit.ranks.out_of_memory import memory_words
from tests.planned import plan_of


@pytest.fixture(scope="module")
def plan() -> Plan:
    plan = plan_of("py:tests.sample_models:stack", 2)
    stages = tuple(stage.model_copy(update={"peak_bytes": 6_900_000_000}) for stage in plan.stages)
    return plan.model_copy(update={"stages": stages})


@pytest.fixture
def crowded_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU of 79 GB with 0.3 GB free; another process holds 70, this rank 6.1."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (300_000_000, 79_000_000_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 6_100_000_000)
    monkeypatch.setattr(memory, "tenants", lambda device: [Tenant(4242, "python", 70_000_000_000)])


WORDS = (
    "out of memory on cuda:1: 2.15 GB more were asked for, 300 MB of 79 GB are free, this rank holds 6.1 GB, "
    "planned were 6.9 GB; process 4242 (python) holds 70 GB"
)


def test_a_full_gpu_is_told_with_what_was_asked_planned_and_held_by_others(crowded_gpu: None, plan: Plan):
    job = RunJob(executor="pipeline", plan=plan, device="cuda", devices=(0, 1))
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 1 has a total capacity of ...")
    assert memory_words(error, job, 1) == WORDS
    told = error_of(failure_of(error, 1, job), "rank 1 of 2 (pipeline on cuda:1)", "the log is in /tmp/x")
    assert isinstance(told, OutOfMemoryError)
    assert str(told) == (
        f"rank 1 of 2 (pipeline on cuda:1) failed: {WORDS}; plan with more --stages, a lower --cap or --dtype "
        "bfloat16, or free that memory; the log is in /tmp/x"
    )


def test_a_full_host_is_told_in_its_own_numbers(monkeypatch: pytest.MonkeyPatch, plan: Plan):
    monkeypatch.setattr(out_of_memory, "memory_of", lambda device: (1_000_000, 8_000_000_000))
    used = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=3_000_000_000))
    monkeypatch.setattr(psutil, "Process", lambda: used)
    text = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000 bytes. Error 12"
    assert memory_words(RuntimeError(text), RunJob(executor="single", plan=plan), 0) == (
        "out of memory on the host: 4 GB more were asked for, 1 MB of 8 GB are free, this rank holds 3 GB"
    )


def test_what_was_refused_before_loading_keeps_its_own_words(plan: Plan):
    error = OutOfMemoryError("single needs 13.5 GB on one device, and cuda:0 has 9 GB free of 79 GB")
    failure = failure_of(error, 0, RunJob(executor="single", plan=plan))
    assert failure.is_out_of_memory
    assert failure.message == str(error)
