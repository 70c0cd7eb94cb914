"""Items between a user's program and its ranks: slots of tensors in memory that both map."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import torch

from partkit.stages.cut import ValueSpec
from partkit.transport.buffers import ALIGNMENT, pack, value_at
from partkit.transport.memory import SharedMemory


def slot_bytes(values: Sequence[ValueSpec]) -> int:
    """Bytes of a slot that holds the values."""
    _, size = pack([value.num_bytes for value in values])
    return -(-max(size, 1) // ALIGNMENT) * ALIGNMENT


class SharedSlots:
    """The values of one item in each of ``num_slots`` slots.

    All processes that open the file see the same memory. It may be unlinked once all have it open. On CUDA,
    :meth:`pin` lets the device copy from and to it without another copy in between.
    """

    def __init__(self, path: Path, values: Sequence[ValueSpec], num_slots: int) -> None:
        self.num_slots = num_slots
        self._stride = slot_bytes(values)
        self._memory = SharedMemory(path, self._stride * num_slots)
        offsets, _ = pack([value.num_bytes for value in values])
        self._values = values
        self._offset_by_name = {value.name: offset for value, offset in zip(values, offsets, strict=True)}
        self._known: dict[int, dict[str, torch.Tensor]] = {}

    def tensors(self, slot: int, values: Sequence[ValueSpec]) -> dict[str, torch.Tensor]:
        """The slot's values by name, in shapes not larger than the slots': views of the shared memory."""
        if values is not self._values:
            return self._over(self._memory.bytes, slot * self._stride, values)
        if slot not in self._known:
            self._known[slot] = self._over(self._memory.bytes, slot * self._stride, values)
        return self._known[slot]

    def part(self, slot: int) -> memoryview:
        """The slot's bytes, for :meth:`over`."""
        return self._memory.view[slot * self._stride : (slot + 1) * self._stride]

    def over(self, part: memoryview, values: Sequence[ValueSpec]) -> dict[str, torch.Tensor]:
        """Tensors that hold on to ``part``: it goes when the last of them, and of their views, has gone."""
        return self._over(torch.frombuffer(part, dtype=torch.uint8), 0, values)

    def pin(self) -> None:
        """Register the memory with CUDA: copies need no staging and overlap. Raises :class:`MachineError`."""
        self._memory.pin()

    def close(self) -> None:
        """Undo :meth:`pin`; must come before the memory goes."""
        self._memory.close()

    def _over(self, data: torch.Tensor, start: int, values: Sequence[ValueSpec]) -> dict[str, torch.Tensor]:
        return {value.name: value_at(data, start + self._offset_by_name[value.name], value) for value in values}


class LentSlots:
    """Slots that a program's outputs lie in: each comes back by itself when the last tensor over it is gone.

    free . claim -> an item's output is made in it . lend -> tensors of the user's . all gone -> free

    A slot may come back in any thread at any moment (a garbage collection, say): its return takes no lock.
    """

    def __init__(self, slots: SharedSlots, most_lent: int) -> None:
        self._slots, self._most_lent = slots, most_lent
        self._free = deque(range(slots.num_slots))
        self._lent: dict[int, weakref.ref[memoryview]] = {}
        self._returned: deque[int] = deque()

    @property
    def has_free(self) -> bool:
        """Whether :meth:`claim` has a slot to give."""
        self._take_back()
        return bool(self._free)

    def claim(self) -> int:
        """A free slot, of those that came back as well."""
        self._take_back()
        return self._free.popleft()

    @property
    def is_short(self) -> bool:
        """Whether so many slots are lent that the next output should be copied and its slot given back at once."""
        self._take_back()
        return len(self._lent) >= self._most_lent

    def lend(self, slot: int, values: Sequence[ValueSpec]) -> dict[str, torch.Tensor]:
        """What lies in a claimed slot, as tensors that keep the slot as long as they are kept."""
        part, returned = self._slots.part(slot), self._returned
        self._lent[slot] = weakref.ref(part, lambda _: returned.append(slot))
        return self._slots.over(part, values)

    def _take_back(self) -> None:
        while self._returned:
            slot = self._returned.popleft()
            del self._lent[slot]
            self._free.append(slot)
