"""Whether something fits a device, told before anything is loaded."""

from __future__ import annotations

from types import SimpleNamespace

import pynvml
import pytest
import torch

from partkit.errors import OutOfMemoryError, UnsupportedError
from partkit.machine import memory
from partkit.machine.memory import Tenant, free_bytes, free_gpu_bytes, require_room

GPU = torch.device("cuda", 0)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU of 79 GB with 9 GB free, of which others hold 70."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (9_000_000_000, 79_000_000_000))
    monkeypatch.setattr(memory, "tenants", lambda device: [Tenant(4242, "python", 69_500_000_000)])


def test_what_is_larger_than_the_device_is_unsupported(gpu: None):
    with pytest.raises(UnsupportedError) as raised:
        require_room(97_000_000_000, GPU, "single")
    assert str(raised.value) == "single needs 97 GB on one device, and cuda:0 has 79 GB"


def test_what_would_fit_without_other_tenants_says_who_holds_the_memory(gpu: None):
    with pytest.raises(OutOfMemoryError) as raised:
        require_room(13_500_000_000, GPU, "single")
    assert str(raised.value) == (
        "single needs 13.5 GB on one device, and cuda:0 has 9 GB free of 79 GB; process 4242 (python) holds 69.5 GB"
    )


def test_a_budget_counts_as_the_device(gpu: None):
    with pytest.raises(UnsupportedError) as raised:
        require_room(5_000_000_000, GPU, "single", budget_bytes=4_000_000_000)
    assert str(raised.value) == "single needs 5 GB on one device, and --memory allows 4 GB"


def test_what_fits_is_let_in(gpu: None):
    require_room(8_999_999_999, GPU, "single")


def test_free_memory_is_told_less_a_margin(gpu: None):
    assert free_bytes(GPU) == 8_280_000_000
    assert free_bytes(GPU, margin=0.0) == 9_000_000_000


def test_free_memory_is_that_of_the_device_that_cuda_calls_by_the_number(monkeypatch: pytest.MonkeyPatch):
    free_by_handle = {0: 80, 3: 9, "GPU-abc": 5}
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", lambda uuid: uuid)
    monkeypatch.setattr(
        pynvml, "nvmlDeviceGetMemoryInfo", lambda handle: SimpleNamespace(free=free_by_handle[handle] * 10**9)
    )
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert free_gpu_bytes(0) == 80_000_000_000
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-abc")
    assert [free_gpu_bytes(index) for index in range(3)] == [9_000_000_000, 5_000_000_000, None]


def test_without_nvml_free_memory_is_not_known(monkeypatch: pytest.MonkeyPatch):
    def fails() -> None:
        raise pynvml.NVMLError(1)

    monkeypatch.setattr(pynvml, "nvmlInit", fails)
    assert free_gpu_bytes(0) is None


def test_nobody_is_told_to_hold_memory_of_the_host():
    assert memory.tenants(torch.device("cpu")) == []
