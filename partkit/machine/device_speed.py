"""What a device, and the host thread that feeds it, can do alone: calls per second, copies to and from the host."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

import torch

from partkit.data.examination import ExaminedDevice, Holder, PcieLink
from partkit.machine.devices import host_memory_bytes
from partkit.machine.environment import cpu_name
from partkit.machine.memory import tenants
from partkit.machine.nvml import driver, pcie_reader

_CALLS = 2_000
_BATCHES = 5
_COPIED_BYTES = 64 << 20
_ASYNC_ENGINES = 40
"""CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT of cuda.h."""


def examine_device(device: torch.device) -> ExaminedDevice:
    """Measure a device that nothing else uses meanwhile; takes about a second."""
    if device.type == "cpu":
        return ExaminedDevice(
            index=0, type="cpu", name=cpu_name(), free_bytes=host_memory_bytes(), calls_per_s=_calls_per_s(device)
        )
    index = device.index or 0
    properties = torch.cuda.get_device_properties(device)
    uuid = f"GPU-{properties.uuid}"
    told = next((gpu for gpu in driver().gpus if gpu.uuid == uuid), None)
    free, total = torch.cuda.mem_get_info(device)
    with pcie_reader(uuid) as read_pcie:
        to_device, from_device, (generation, width) = _host_copies(device, read_pcie)
    return ExaminedDevice(
        index=index,
        type="cuda",
        name=properties.name,
        memory_bytes=total,
        free_bytes=free,
        holders=tuple(Holder(pid=each.pid, name=each.name, num_bytes=each.num_bytes) for each in tenants(device)),
        calls_per_s=_calls_per_s(device),
        copy_engines=_copy_engines(index),
        to_device_bytes_per_s=to_device,
        from_device_bytes_per_s=from_device,
        pcie=PcieLink(
            generation=generation,
            width=width,
            slot_generation=None if told is None else told.slot_generation,
            slot_width=None if told is None else told.slot_width,
            card_generation=None if told is None else told.card_generation,
        ),
        nvlinks=None if told is None else told.nvlinks,
    )


def _calls_per_s(device: torch.device) -> float:
    """Additions to a tensor of one element that one thread can call in a second: the best of some batches.

    On CUDA it is launches: the device takes each in less time than the host needs for the next.
    """
    x = torch.zeros(1, device=device)
    best = 0.0
    with torch.inference_mode():
        for _ in range(_BATCHES):
            _settle(device)
            begin = time.perf_counter()
            for _ in range(_CALLS):
                x.add_(1.0)
            _settle(device)
            best = max(best, _CALLS / (time.perf_counter() - begin))
    return best


def _host_copies(
    device: torch.device, read_pcie: Callable[[], tuple[int | None, int | None]]
) -> tuple[float, float, tuple[int | None, int | None]]:
    """Bytes per second from pinned memory to the device and back, and the PCI Express link while they go."""
    on_host = torch.zeros(_COPIED_BYTES, dtype=torch.uint8).pin_memory()
    on_device = torch.zeros(_COPIED_BYTES, dtype=torch.uint8, device=device)
    rates = []
    for target, source in ((on_device, on_host), (on_host, on_device)):
        best = 0.0
        for _ in range(_BATCHES):
            _settle(device)
            begin = time.perf_counter()
            target.copy_(source, non_blocking=True)
            _settle(device)
            best = max(best, _COPIED_BYTES / (time.perf_counter() - begin))
        rates.append(best)
    for _ in range(_BATCHES):  # NVML takes its time to answer, so not while the clock runs
        on_device.copy_(on_host, non_blocking=True)
    pcie = read_pcie()
    _settle(device)
    return rates[0], rates[1], pcie


def _copy_engines(index: int) -> int | None:
    """Copies that the device can do beside each other and beside kernels, by the driver; None where it does not say."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    handle, count = ctypes.c_int(), ctypes.c_int()
    if cuda.cuDeviceGet(ctypes.byref(handle), index) != 0:
        return None
    return count.value if cuda.cuDeviceGetAttribute(ctypes.byref(count), _ASYNC_ENGINES, handle) == 0 else None


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
