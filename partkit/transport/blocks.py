"""Model inputs of many items at once, for a loop that is one CUDA graph: its addresses never change.

host memory 0, 1     filled by the host while the other is under way
feed stream          host memory -> device memory 0, 1
compute stream       device memory -> what the graph reads, just before it runs
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from partkit.stages.cut import ValueSpec
from partkit.transport.buffers import SlotBuffer, packed_bytes
from partkit.transport.host import Source
from partkit.transport.stream import StreamHandle

_SIDES = 2


class HostBlocks:
    """The inputs of ``num_turns`` items of a stage, launch by launch."""

    def __init__(
        self, values: Sequence[ValueSpec], source: Source, num_turns: int, compute: torch.cuda.Stream | None
    ) -> None:
        self._source, self._compute, self._is_empty = source, compute, not values
        self._fetched: list[Sequence[torch.Tensor]] = [()] * num_turns
        if compute is None or self._is_empty:
            return
        size, host, device = packed_bytes(values), torch.device("cpu"), compute.device
        shape = (num_turns, size)
        self._on_host = [torch.zeros(shape, dtype=torch.uint8, pin_memory=True) for _ in range(_SIDES)]
        self._on_device = [torch.zeros(shape, dtype=torch.uint8, device=device) for _ in range(_SIDES)]
        self._read = torch.zeros(shape, dtype=torch.uint8, device=device)
        self._rows = [[SlotBuffer(values, host, row).tensors for row in side] for side in self._on_host]
        self._fetched = [SlotBuffer(values, device, row).tensors for row in self._read]
        self._stream = torch.cuda.Stream(device)
        self._brought = [StreamHandle(compute) for _ in range(_SIDES)]
        self._used = [torch.cuda.Event() for _ in range(_SIDES)]

    def tensors(self, turn: int) -> Sequence[torch.Tensor]:
        """The inputs of one of the items."""
        return self._fetched[turn]

    def stage(self, items: Sequence[int], launch: int) -> None:
        """Fetch the inputs of a launch's items; on CUDA into host memory, once the launch before last has left it."""
        if self._is_empty:
            return
        if self._compute is None:
            self._fetched = [self._source(item) for item in items]
            return
        side = launch % _SIDES
        self._brought[side].synchronize()
        for item, row in zip(items, self._rows[side], strict=True):
            for tensor, given in zip(row, self._source(item), strict=True):
                tensor.copy_(given)

    def bring(self, launch: int) -> None:
        """Queue the copy of what :meth:`stage` fetched to the device; the compute stream waits for it."""
        if self._compute is None or self._is_empty:
            return
        side = launch % _SIDES
        self._stream.wait_event(self._used[side])
        with torch.cuda.stream(self._stream):
            self._on_device[side].copy_(self._on_host[side], non_blocking=True)
        self._brought[side].record(self._stream)
        self._brought[side].wait()
        with torch.cuda.stream(self._compute):
            self._read.copy_(self._on_device[side])
        self._used[side].record(self._compute)
