"""The devices and host memory of this machine; a request for a kind that is missing is refused here."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import re
import sys
from pathlib import Path

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
    """CUDA devices visible to torch; makes no CUDA context, and imports no torch where there plainly are none."""
    if plainly_without_cuda():
        return 0
    import torch

    return torch.cuda.device_count()


def plainly_without_cuda() -> bool:
    """True where torch could use no CUDA device, told within milliseconds: no driver, none visible, or a CPU torch.

    False says nothing: then torch must be asked, which takes seconds to import.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1") or not _torch_is_built_for_gpus():
        return True
    if sys.platform != "linux":
        return False
    try:
        ctypes.CDLL("libcuda.so.1")  # loaded and not initialised: no CUDA would survive a fork
    except OSError:
        return not Path("/dev/kfd").exists()  # AMD's driver, whose devices torch calls CUDA too
    return False


def most_cuda_devices() -> int | None:
    """CUDA devices that torch can see at most, told within milliseconds; None where only torch knows."""
    if plainly_without_cuda():
        return 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    listed = None if visible is None else len(visible.split(","))
    driver = Path("/proc/driver/nvidia/gpus")
    present = len(list(driver.iterdir())) if driver.is_dir() else None
    return min((count for count in (listed, present) if count is not None), default=None)


@functools.cache
def _torch_is_built_for_gpus() -> bool:
    """Whether the installed torch has CUDA or ROCm, by the file that its build wrote; True where that is not known."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return True
    try:
        text = Path(found.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return True
    built_for = re.findall(r"^(?:cuda|hip)\b.*= *(.+)$", text, re.MULTILINE)
    return not built_for or any(value.strip() != "None" for value in built_for)


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def host_memory_bytes() -> int:
    """Memory that is free for new processes."""
    return int(psutil.virtual_memory().available)
