"""The ends of an edge: values of one stage for another, slot by slot, over a channel to each replica.

    sender      ready(slot) . fill the slot . send(slot, item)          post     ask for an item ahead of its turn
    receiver    post(slot, item) . wait(slot) . read the slot           drain    all that was sent has left

An item's slot is its turn at the place, ``item // replicas``, modulo the slots: both ends know each other's.
``wait``, ``ready`` and ``drain`` block the host over gloo; on CUDA they make the compute stream wait instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from partkit.stages.cut import ValueSpec
from partkit.transport.buffers import SlotBuffer

Event = torch.cuda.Event


class Handle(Protocol):
    """A transfer under way."""

    def wait(self) -> object:
        """Block (CPU) or make the compute stream wait (CUDA) until the transfer is done."""


ValuesOf = Callable[[int], Sequence[ValueSpec]]
"""What crosses for an item, in its own shapes."""


class Inbound(Protocol):
    """Where transfers from one place arrive, in the order in which they were sent."""

    def receive(self, slot: int, data: torch.Tensor, after: Event | None) -> Handle:
        """Ask for the next transfer, into ``data``, once what was in it is consumed: ``after`` on CUDA, else now."""


class Outbound(Protocol):
    """Where transfers to one place leave."""

    def send(self, slot: int, data: torch.Tensor, after: Event | None, to_slot: int) -> Handle:
        """Send ``data`` to the receiver's slot, once what fills it is done: ``after`` on CUDA, else now."""


class Receiver:
    """Takes one edge's values into ``slots``; item i comes over ``channels[i mod len(channels)]``."""

    def __init__(
        self,
        values: Sequence[ValueSpec],
        channels: Sequence[Inbound],
        slots: Sequence[SlotBuffer],
        *,
        values_of: ValuesOf | None = None,
    ) -> None:
        """``values_of``: the values of an item, where their shapes vary."""
        self.slots = slots
        self._values_of: ValuesOf = values_of or (lambda _: values)
        self._channels = channels
        self._arrivals: list[Handle | None] = [None] * len(slots)

    def post(self, slot: int, item: int, after: Event | None = None) -> None:
        """Ask for an item; the slot's former item is consumed once ``after`` has happened (None: it is)."""
        self.fit(slot, item)
        channel = self._channels[item % len(self._channels)]
        self._arrivals[slot] = channel.receive(slot, self.slots[slot].used, after)

    def fit(self, slot: int, item: int) -> None:
        """Give the slot the shapes of an item."""
        self.slots[slot].fit(self._values_of(item))

    def wait(self, slot: int) -> None:
        """Block (CPU) or make the compute stream wait (CUDA) until the slot's item has arrived."""
        arrival = self._arrivals[slot]
        assert arrival is not None, "wait before post"
        arrival.wait()

    def tensors(self, slot: int) -> list[torch.Tensor]:
        """The slot's values, in the edge's order."""
        return self.slots[slot].tensors


class Sender:
    """Gives one edge's values from ``slots``; item i goes over ``channels[i mod len(channels)]``."""

    def __init__(self, channels: Sequence[Outbound], slots: Sequence[SlotBuffer]) -> None:
        self.slots = slots
        self._channels = channels
        self._departures: list[Handle | None] = [None] * len(slots)

    def ready(self, slot: int) -> None:
        """Block (CPU) or make the compute stream wait (CUDA) until the slot's former item has left.

        Returns at once for the slot's first item.
        """
        departure, self._departures[slot] = self._departures[slot], None
        if departure is not None:
            departure.wait()

    def send(self, slot: int, item: int, after: Event | None = None) -> None:
        """Send the slot, which is filled once ``after`` has happened (None: it is)."""
        turn, replica = divmod(item, len(self._channels))
        data = self.slots[slot].used
        self._departures[slot] = self._channels[replica].send(slot, data, after, turn % len(self.slots))

    def drain(self) -> None:
        """Block (CPU) or make the compute stream wait (CUDA) until all that was sent has left."""
        for slot in range(len(self.slots)):
            self.ready(slot)
