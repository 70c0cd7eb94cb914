"""What copies between GPUs need of a CUDA stream: copies by the copy engines, and flags in shared host memory.

Flags are waited for and set by the stream itself (CUDA driver API, "Stream Memory Operations"): no host waits, and no
kernel takes a multiprocessor away from the stage, as NCCL's do. ``cuda.bindings`` comes with every CUDA build of torch
from 2.11 on. CUDA may be given these operations while a graph is captured.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch

from partkit.errors import MachineError
from partkit.transport.edge import Event, Handle
from partkit.transport.lanes import Lanes
from partkit.transport.stream import StreamHandle


class Queue(Protocol):
    """Work in order. A flag is the address of 4 bytes: 0 or 1, set by one side and taken by the other."""

    def follow(self, event: Event | None) -> None:
        """Go on once an event has happened."""

    def take(self, flag: int) -> None:
        """Go on once the flag is 1, and make it 0."""

    def give(self, flag: int) -> None:
        """Make the flag 1, once all before is done and seen by all devices."""

    def copy(self, target: int, source: int, num_bytes: int) -> None:
        """Copy bytes between addresses."""

    def done(self, slot: int) -> Handle:
        """All that was queued, as a handle; one per slot is kept."""


class StreamQueue:
    """A queue on a CUDA stream of its own, beside the compute streams: that of a slot waits for the slot's handle."""

    def __init__(self, compute: Lanes, num_slots: int) -> None:
        self._driver = _driver()
        self._stream = torch.cuda.Stream(compute.device)
        self._handle = self._driver.CUstream(self._stream.cuda_stream)
        self._dones = [StreamHandle(compute.of(slot)) for slot in range(num_slots)]
        self._equal = self._driver.CUstreamWaitValue_flags.CU_STREAM_WAIT_VALUE_EQ.value

    def follow(self, event: Event | None) -> None:
        """See :class:`Queue`."""
        if event is not None:
            self._stream.wait_event(event)

    def take(self, flag: int) -> None:
        """See :class:`Queue`."""
        _checked(self._driver.cuStreamWaitValue32(self._handle, flag, 1, self._equal))
        _checked(self._driver.cuStreamWriteValue32(self._handle, flag, 0, 0))

    def give(self, flag: int) -> None:
        """See :class:`Queue`."""
        _checked(self._driver.cuStreamWriteValue32(self._handle, flag, 1, 0))

    def copy(self, target: int, source: int, num_bytes: int) -> None:
        """See :class:`Queue`."""
        _checked(self._driver.cuMemcpyAsync(target, source, num_bytes, self._handle))

    def done(self, slot: int) -> StreamHandle:
        """See :class:`Queue`."""
        handle = self._dones[slot]
        handle.record(self._stream)
        return handle


def export_address(address: int) -> tuple[bytes, int]:
    """A handle of the allocation that holds a device address, for another process, and the offset in it.

    Raises :class:`MachineError` where CUDA refuses.
    """
    driver = _driver()
    try:
        handle = _checked(driver.cuIpcGetMemHandle(address))
        base = _checked(driver.cuMemGetAddressRange(address))
    except MachineError as error:
        raise MachineError(
            f"GPU memory cannot be shared between processes ({error.message})",
            hint="unset PYTORCH_ALLOC_CONF=expandable_segments, or use the executor pipeline-nccl",
        ) from None
    return bytes(handle.reserved), address - int(base[0])


def import_address(handle: bytes, offset: int) -> int:
    """The address of another process's memory in this one, on the current device.

    Raises :class:`MachineError` where CUDA refuses.
    """
    driver = _driver()
    opened = driver.CUipcMemHandle()
    opened.reserved = handle
    lazy = driver.CUipcMem_flags.CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS.value
    return int(_checked(driver.cuIpcOpenMemHandle(opened, lazy))) + offset


def _driver() -> Any:
    try:
        from cuda.bindings import driver
    except ImportError:
        raise MachineError(
            "copies between GPUs need cuda-bindings, which is not installed",
            hint="pip install cuda-bindings, or use the executor pipeline-nccl",
        ) from None
    return driver


def _checked(result: tuple[Any, ...]) -> Any:
    """What a driver call gave. Raises :class:`MachineError` with CUDA's own word for what went wrong."""
    code, *values = result
    if int(code) != 0:
        raise MachineError(f"CUDA refused a copy between GPUs: {code.name}", hint="use the executor pipeline-nccl")
    return values[0] if len(values) == 1 else values
