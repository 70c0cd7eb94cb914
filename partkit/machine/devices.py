"""The devices and host memory of this machine; a request for a kind that is missing is refused here."""

from __future__ import annotations

import os

import psutil

from partkit.data.job import DeviceType
from partkit.errors import MachineError, UsageError


def resolve_device(asked: str) -> DeviceType:
    """``auto``, ``cpu`` or ``cuda`` -> the kind to use. Raises :class:`MachineError` where CUDA is missing."""
    if asked not in ("auto", "cpu", "cuda"):
        raise UsageError(f"there is no device {asked!r}", hint="choose from auto, cpu and cuda")
    if asked == "cpu":
        return "cpu"
    if num_cuda_devices() > 0:
        return "cuda"
    if asked == "cuda":
        raise MachineError("this machine has no CUDA device that torch can use", hint="use --device cpu")
    return "cpu"


def num_cuda_devices() -> int:
    """CUDA devices visible to torch; makes no CUDA context."""
    import torch

    return torch.cuda.device_count()


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def host_memory_bytes() -> int:
    """Memory that is free for new processes."""
    return int(psutil.virtual_memory().available)
