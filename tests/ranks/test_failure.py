"""What a failing rank tells its parent."""

from __future__ import annotations

import errno

import pytest
import torch
import torch.distributed as dist

from partkit.ranks import failure
from partkit.ranks.failure import failure_of

NCCL = (
    "NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:93, unhandled cuda error (run with "
    "NCCL_DEBUG=INFO for details), NCCL version 2.28.9\nncclUnhandledCudaError: Call to CUDA function failed.\n"
    "Last error:\n"
)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        dist.DistBackendError(NCCL + "Cuda failure 2 'out of memory'"),
        dist.DistBackendError(NCCL + "Failed to CUDA calloc async 1216 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
        OSError(errno.ENOMEM, "mmap"),
        caused(ValueError("no such shard"), torch.OutOfMemoryError("CUDA out of memory.")),
    ],
)
def test_memory_that_ran_out_is_told_as_such_in_whatever_words(error: Exception) -> None:
    told = failure_of(error, rank=1)
    assert (told.is_out_of_memory, told.is_consequence) == (True, False)


@pytest.mark.parametrize(
    "text", [NCCL, "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"]
)
@pytest.mark.parametrize("is_full", [True, False])
def test_an_error_without_a_reason_is_of_memory_where_the_device_is_full(
    text: str, is_full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: ((3 << 20) if is_full else (40 << 30), 80 << 30))
    assert failure_of(RuntimeError(text), rank=0).is_out_of_memory is is_full


def test_a_lost_peer_is_a_consequence_and_no_lack_of_memory() -> None:
    told = failure_of(dist.DistBackendError("NCCL error: remote process exited or there was a network error"), rank=0)
    assert (told.is_out_of_memory, told.is_consequence) == (False, True)


def test_errors_that_hold_each_other_end(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__cause__, other.__cause__ = other, one
    monkeypatch.setattr(failure, "_is_device_full", lambda: True)
    assert failure_of(one, rank=0).is_out_of_memory is False
