"""The host's end of a pipeline: a stage's model inputs, as one more edge."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from partkit.stages.cut import ValueSpec
from partkit.transport.buffers import SlotBuffer
from partkit.transport.edge import Event, ValuesOf
from partkit.transport.lanes import Lanes
from partkit.transport.stream import StreamHandle

Source = Callable[[int], Sequence[torch.Tensor]]
"""Gives an item's input tensors, on the CPU (pinned where they go to a GPU); may block until there are some."""


class HostFeed:
    """Takes a stage's model inputs from a source; on CUDA copied on a stream of its own, beside the computation."""

    def __init__(
        self,
        values: Sequence[ValueSpec],
        source: Source,
        num_slots: int,
        compute: Lanes | None,
        *,
        values_of: ValuesOf | None = None,
    ) -> None:
        """``values_of``: the inputs of an item, where their shapes vary."""
        self.source, self._compute = source, compute
        device = torch.device("cpu") if compute is None else compute.device
        self._slots = [SlotBuffer(values, device) for _ in range(num_slots)]
        self._tensors = [buffer.tensors for buffer in self._slots]
        self._values_of: ValuesOf = values_of or (lambda _: values)
        self._items = [0] * num_slots
        self._consumed: list[Event | None] = [None] * num_slots
        if compute is not None:
            self._stream = torch.cuda.Stream(compute.device)
            self._copied = [StreamHandle(compute.of(slot)) for slot in range(num_slots)]

    def take_from(self, source: Source) -> None:
        """Read items from another source from now on."""
        self.source = source

    def post(self, slot: int, item: int, after: Event | None = None) -> None:
        """Note which item comes next in the slot; the former is consumed once ``after`` has happened (None: it is)."""
        self._items[slot], self._consumed[slot] = item, after
        self.fit(slot, item)

    def fit(self, slot: int, item: int) -> None:
        """Give the slot the shapes of an item."""
        self._slots[slot].fit(self._values_of(item))
        self._tensors[slot] = self._slots[slot].tensors

    def wait(self, slot: int) -> None:
        """Fetch the slot's item; on CUDA make the compute stream wait for the copy."""
        tensors = self.source(self._items[slot])
        if self._compute is None:
            self._tensors[slot] = list(tensors)
            return
        if (consumed := self._consumed[slot]) is not None:
            self._stream.wait_event(consumed)
        torch.cuda.set_stream(self._stream)
        for buffer, tensor in zip(self._tensors[slot], tensors, strict=True):
            buffer.copy_(tensor, non_blocking=True)
        self._copied[slot].record(self._stream)
        self._copied[slot].wait()

    def tensors(self, slot: int) -> list[torch.Tensor]:
        """The slot's input tensors."""
        return self._tensors[slot]
