"""Memory of a device: what is there, what is free, who has the rest, and whether something fits."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from partkit.data.margin import MARGIN
from partkit.data.units import format_bytes
from partkit.errors import OutOfMemoryError, UnsupportedError
from partkit.machine.devices import host_memory_bytes
from partkit.machine.gpu_sampler import nvml_handle


def free_gpu_bytes(index: int) -> int | None:
    """Bytes free of a CUDA device now, by NVML and without a CUDA context in this process; None without NVML.

    ``index`` is CUDA's: ``CUDA_VISIBLE_DEVICES`` may hide and reorder what NVML counts.
    """
    import pynvml as nvml

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(index)] if visible is None else visible.split(",")[index : index + 1]
    if not names:
        return None
    name = names[0].strip()
    try:
        nvml.nvmlInit()
        handle = (
            nvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdecimal() else nvml.nvmlDeviceGetHandleByUUID(name)
        )
        return int(nvml.nvmlDeviceGetMemoryInfo(handle).free)
    except nvml.NVMLError:
        return None


@dataclass(frozen=True)
class Tenant:
    """Another process that holds memory of a GPU."""

    pid: int
    name: str
    num_bytes: int


def free_bytes(device: torch.device, margin: float = MARGIN) -> int:
    """Bytes free on the device now, less the margin: of a GPU as the driver tells them, else of the host."""
    return int(memory_of(device)[0] * (1 - margin))


def memory_of(device: torch.device) -> tuple[int, int]:
    """Bytes free and in all, of a GPU or of the host."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return int(free), int(total)
    return host_memory_bytes(), int(psutil.virtual_memory().total)


def require_room(needed_bytes: int, device: torch.device, what: str, *, budget_bytes: int | None = None) -> None:
    """Refuse what cannot fit before anything of it is loaded.

    Raises :class:`UnsupportedError` where the device, or the budget given for it, is too small, and
    :class:`OutOfMemoryError` where it would do if others held less of it.
    """
    free, total = memory_of(device)
    needed, name = format_bytes(needed_bytes), str(device)
    if budget_bytes is not None and needed_bytes > budget_bytes:
        raise UnsupportedError(f"{what} needs {needed} on one device, and --memory allows {format_bytes(budget_bytes)}")
    if needed_bytes > total:
        raise UnsupportedError(f"{what} needs {needed} on one device, and {name} has {format_bytes(total)}")
    if device.type == "cuda" and needed_bytes > free:  # the host's weights may be mapped, and the host pages
        raise OutOfMemoryError(
            f"{what} needs {needed} on one device, and {name} has {format_bytes(free)} free of {format_bytes(total)}"
            f"{told_tenants(device)}"
        )


def told_tenants(device: torch.device) -> str:
    """``; process 4242 (python) holds 70 GB``, largest first; empty where nobody else is known to hold any."""
    held = [f"process {each.pid} ({each.name}) holds {format_bytes(each.num_bytes)}" for each in tenants(device)]
    return f"; {', '.join(held)}" if held else ""


def tenants(device: torch.device) -> list[Tenant]:
    """Other processes that hold memory of a GPU as NVML tells, largest first; none without NVML or on the host.

    Within a container NVML may tell nobody, or process ids of the host.
    """
    if device.type != "cuda":
        return []
    import pynvml as nvml

    handle = nvml_handle(device.index or 0)
    if handle is None:
        return []
    try:
        processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except nvml.NVMLError:
        return []
    found = [Tenant(each.pid, _name_of(each.pid), int(each.usedGpuMemory or 0)) for each in processes]
    others = [tenant for tenant in found if tenant.pid != os.getpid() and tenant.num_bytes > 0]
    return sorted(others, key=lambda tenant: -tenant.num_bytes)


def _name_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    return "of another container"
