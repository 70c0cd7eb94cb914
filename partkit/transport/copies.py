"""A channel between ranks of one host, by the GPUs' copy engines.

With peer access the sender copies into the receiver's slot; without it both copy through a landing place in host
memory that both have pinned. Flags, one pair per slot, take the place of messages:

    direct    receiver   follow(consumed s) . give(free s) . take(arrived s)
              sender     follow(computed) . take(free s) . copy to the slot . give(arrived s)
    staged    receiver   follow(consumed s) . take(arrived s) . copy from the landing . give(free s)
              sender     the same, to the landing, which is free at first

``s`` is the receiver's slot: a slot follows from the item alone, so the sender knows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from partkit.transport.edge import Event, Handle
from partkit.transport.memory import SharedMemory
from partkit.transport.stream_queue import Queue

_HANDLE_BYTES = 64
_ENTRY_BYTES = _HANDLE_BYTES + 8
_PAGE_BYTES = 4096
_FLAG_BYTES = 128
"""Between flags, so that no two share a line that devices write whole."""


@dataclass(frozen=True)
class Flags:
    """Addresses of a slot's flags."""

    free: int
    arrived: int


class Mailbox:
    """Memory that the two sides of an edge share: who may write where, the flags, and landings where copies are staged.

    Laid out by whoever creates it, the receiver:

        is_staged . [handle . offset] per slot | flags of each channel and slot | landings of each, where staged
    """

    def __init__(self, path: Path, *, num_channels: int, num_slots: int, slot_bytes: int) -> None:
        self._num_slots = num_slots
        self._flags_at = _pages(_ENTRY_BYTES * (1 + num_slots))
        self._landings_at = self._flags_at + _pages(num_channels * num_slots * 2 * _FLAG_BYTES)
        self._stride = _pages(slot_bytes)
        self._memory = SharedMemory(path, self._landings_at + num_channels * num_slots * self._stride)

    @property
    def is_staged(self) -> bool:
        """True where copies go through the landings."""
        return bool(self._memory.bytes[0])

    def stage(self) -> None:
        """Have copies go through the landings, all of which are free."""
        self._memory.bytes[0] = 1
        self._memory.bytes[self._flags_at : self._landings_at : 2 * _FLAG_BYTES] = 1

    def pin(self) -> None:
        """Register the memory with CUDA, so that devices can read and write it."""
        self._memory.pin()

    def close(self) -> None:
        """Undo :meth:`pin`."""
        self._memory.close()

    def flags(self, channel: int) -> list[Flags]:
        """A channel's flags, by slot of the receiver."""
        first = self._memory.bytes.data_ptr() + self._flags_at + channel * self._num_slots * 2 * _FLAG_BYTES
        starts = [first + slot * 2 * _FLAG_BYTES for slot in range(self._num_slots)]
        return [Flags(free=start, arrived=start + _FLAG_BYTES) for start in starts]

    def landings(self, channel: int) -> list[int]:
        """Addresses in this process of a channel's landings, by slot: senders take no turns, so each has its own."""
        first = self._memory.bytes.data_ptr() + self._landings_at + channel * self._num_slots * self._stride
        return [first + slot * self._stride for slot in range(self._num_slots)]

    def publish(self, slot: int, handle: bytes, offset: int) -> None:
        """Publish where a slot lies: the handle of its allocation and the offset in it."""
        entry = torch.frombuffer(bytearray(handle + offset.to_bytes(8, "little")), dtype=torch.uint8)
        self._entry(slot).copy_(entry)

    def published(self, slot: int) -> tuple[bytes, int]:
        """What the receiver published of a slot."""
        entry = bytes(self._entry(slot).tolist())
        return entry[:_HANDLE_BYTES], int.from_bytes(entry[_HANDLE_BYTES:], "little")

    def _entry(self, slot: int) -> torch.Tensor:
        return self._memory.bytes[(1 + slot) * _ENTRY_BYTES : (2 + slot) * _ENTRY_BYTES]


class CopyReceiver:
    """The receiving end. ``landings`` are given where copies are staged."""

    def __init__(
        self, queue: Queue, flags: Sequence[Flags], landings: Sequence[int] | None, frees: Queue | None = None
    ) -> None:
        """``frees`` tells that slots are free, where several lanes compute: in one queue with the arrivals it would
        hold back those of the next lane until a slot of this one is consumed."""
        self._queue, self._flags, self._landings, self._frees = queue, flags, landings, frees or queue

    def receive(self, slot: int, data: torch.Tensor, after: Event | None) -> Handle:
        """Let the sender fill the slot; what it left in the landing is fetched when it is waited for."""
        if self._landings is None:
            self._frees.follow(after)
            self._frees.give(self._flags[slot].free)
        return _Arrival(self, slot, data, after)

    def take(self, slot: int, data: torch.Tensor, after: Event | None) -> None:
        """Order what follows behind the slot's arrival.

        Only now: an earlier wait for it would hold up whatever shares the stream's hardware queue, perhaps just the
        work of this rank that the sender is waiting for.
        """
        queue, flags = self._queue, self._flags[slot]
        if self._landings is None:
            queue.take(flags.arrived)
        else:
            queue.follow(after)
            queue.take(flags.arrived)
            queue.copy(data.data_ptr(), self._landings[slot], data.numel())
            queue.give(flags.free)
        queue.done(slot).wait()


@dataclass(frozen=True)
class _Arrival:
    receiver: CopyReceiver
    slot: int
    data: torch.Tensor
    after: Event | None

    def wait(self) -> None:
        """Order what follows behind it."""
        self.receiver.take(self.slot, self.data, self.after)


class CopySender:
    """The sending end; ``targets`` are addresses in this process, by slot of the receiver."""

    def __init__(self, queue: Queue, flags: Sequence[Flags], targets: Sequence[int]) -> None:
        self._queue, self._flags, self._targets = queue, flags, targets

    def send(self, slot: int, data: torch.Tensor, after: Event | None, to_slot: int) -> Handle:
        """Copy to the receiver's slot once it is free."""
        queue, flags = self._queue, self._flags[to_slot]
        queue.follow(after)
        queue.take(flags.free)
        queue.copy(self._targets[to_slot], data.data_ptr(), data.numel())
        queue.give(flags.arrived)
        return queue.done(slot)


def _pages(size: int) -> int:
    """``size`` in bytes, rounded up to whole pages."""
    return -(-size // _PAGE_BYTES) * _PAGE_BYTES
