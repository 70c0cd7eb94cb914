"""The ends of an edge: values of one stage for another, slot by slot, over a channel to each replica.

    sender      ready(slot) . fill the slot . send(slot, item)          post     ask for an item ahead of its turn
    receiver    post(slot, item) . wait(slot) . read the slot           drain    all that was sent has left

``wait``, ``ready`` and ``drain`` hold back the host over gloo and the compute stream on CUDA.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from partkit.stages import ValueSpec
from partkit.transport.buffers import SlotBuffer


class Handle(Protocol):
    """A transfer under way."""

    def wait(self) -> object:
        """Order what follows behind the transfer."""


class Channel(Protocol):
    """One direction between two places; transfers arrive in the order in which they were sent."""

    def receive(self, slot: int, data: torch.Tensor) -> Handle:
        """Ask for the next transfer, into ``data``; what was in it must have been consumed."""

    def send(self, slot: int, data: torch.Tensor) -> Handle:
        """Send ``data``, once what fills it is done."""


class Receiver:
    """Takes one edge's values into ``slots``; item i comes over ``channels[i mod len(channels)]``."""

    def __init__(
        self, values: Sequence[ValueSpec], channels: Sequence[Channel], num_slots: int, device: torch.device
    ) -> None:
        self.slots = [SlotBuffer(values, device) for _ in range(num_slots)]
        self.values_of: Callable[[int], Sequence[ValueSpec]] = lambda _: values
        """The values of an item, in its own shapes."""
        self._channels = channels
        self._arrivals: list[Handle | None] = [None] * num_slots

    def post(self, slot: int, item: int) -> None:
        """Ask for an item; the slot's former item must have been consumed."""
        self.fit(slot, item)
        channel = self._channels[item % len(self._channels)]
        self._arrivals[slot] = channel.receive(slot, self.slots[slot].used)

    def fit(self, slot: int, item: int) -> None:
        """Give the slot the shapes of an item."""
        self.slots[slot].fit(self.values_of(item))

    def wait(self, slot: int) -> None:
        """Order what follows behind the arrival of the slot's item."""
        arrival = self._arrivals[slot]
        assert arrival is not None, "wait before post"
        arrival.wait()

    def tensors(self, slot: int) -> list[torch.Tensor]:
        """The slot's values, in the edge's order."""
        return self.slots[slot].tensors


class Sender:
    """Gives one edge's values from ``slots``; item i goes over ``channels[i mod len(channels)]``."""

    def __init__(
        self, values: Sequence[ValueSpec], channels: Sequence[Channel], num_slots: int, device: torch.device
    ) -> None:
        self.slots = [SlotBuffer(values, device) for _ in range(num_slots)]
        self._channels = channels
        self._departures: list[Handle | None] = [None] * num_slots

    def ready(self, slot: int) -> None:
        """Order what follows behind the departure of the slot's former item (at once for the first)."""
        departure, self._departures[slot] = self._departures[slot], None
        if departure is not None:
            departure.wait()

    def send(self, slot: int, item: int) -> None:
        """Send the slot, once what fills it is done."""
        channel = self._channels[item % len(self._channels)]
        self._departures[slot] = channel.send(slot, self.slots[slot].used)

    def drain(self) -> None:
        """Order what follows behind everything that was sent."""
        for slot in range(len(self.slots)):
            self.ready(slot)
