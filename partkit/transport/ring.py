"""Items between a user's program and its ranks: K slots of tensors in memory that both map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from partkit.stages.cut import ValueSpec
from partkit.transport.buffers import ALIGNMENT, pack, value_at
from partkit.transport.memory import SharedMemory


class SharedRing:
    """The values of one item in each slot; item i lies in slot i mod ``num_slots``.

    All processes that open the file see the same memory. It may be unlinked once all have it open. On CUDA,
    :meth:`pin` lets the device copy from and to it without another copy in between.
    """

    def __init__(self, path: Path, values: Sequence[ValueSpec], num_slots: int) -> None:
        offsets, size = pack([value.num_bytes for value in values])
        stride = -(-max(size, 1) // ALIGNMENT) * ALIGNMENT
        self.num_slots = num_slots
        self._memory = SharedMemory(path, stride * num_slots)
        self._values, self._stride = values, stride
        self._offset_by_name = {value.name: offset for value, offset in zip(values, offsets, strict=True)}
        self._slots = [
            {
                value.name: value_at(self._memory.bytes, slot * stride + offset, value)
                for value, offset in zip(values, offsets, strict=True)
            }
            for slot in range(num_slots)
        ]

    def tensors(self, item: int) -> dict[str, torch.Tensor]:
        """The item's values by name: views of the shared memory."""
        return self._slots[item % self.num_slots]

    def tensors_as(self, item: int, values: Sequence[ValueSpec]) -> dict[str, torch.Tensor]:
        """The item's values in shapes of its own, not larger than the ring's."""
        if values is self._values:
            return self.tensors(item)
        start, data = item % self.num_slots * self._stride, self._memory.bytes
        return {value.name: value_at(data, start + self._offset_by_name[value.name], value) for value in values}

    def pin(self) -> None:
        """Register the memory with CUDA: copies need no staging and overlap. Raises :class:`MachineError`."""
        self._memory.pin()

    def close(self) -> None:
        """Undo :meth:`pin`; must come before the memory goes."""
        self._memory.close()
