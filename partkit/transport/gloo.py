"""Edges over gloo on the CPU: non-blocking point-to-point calls, a request for each slot."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist

from partkit.stages import ValueSpec
from partkit.transport.buffers import SlotBuffer


class GlooReceiver:
    """Receives one edge's values into ``slots``; item i comes from ``peers[i mod len(peers)]``."""

    def __init__(self, values: Sequence[ValueSpec], peers: Sequence[int], num_slots: int, tag: int) -> None:
        self.slots = [SlotBuffer(values, torch.device("cpu")) for _ in range(num_slots)]
        self._peers, self._tag = peers, tag
        self._requests: list[dist.Work | None] = [None] * num_slots

    def post(self, slot: int, item: int) -> None:
        """Ask for an item; its slot must have been consumed."""
        peer = self._peers[item % len(self._peers)]
        self._requests[slot] = dist.irecv(self.slots[slot].bytes, src=peer, tag=self._tag)

    def wait(self, slot: int) -> None:
        """Return once the slot holds its item."""
        request = self._requests[slot]
        assert request is not None, "wait before post"
        request.wait()


class GlooSender:
    """Sends one edge's values from ``slots``; item i goes to ``peers[i mod len(peers)]``."""

    def __init__(self, values: Sequence[ValueSpec], peers: Sequence[int], num_slots: int, tag: int) -> None:
        self.slots = [SlotBuffer(values, torch.device("cpu")) for _ in range(num_slots)]
        self._peers, self._tag = peers, tag
        self._requests: list[dist.Work | None] = [None] * num_slots

    def ready(self, slot: int) -> None:
        """Return once the slot's former item has left."""
        request = self._requests[slot]
        if request is not None:
            request.wait()
            self._requests[slot] = None

    def send(self, slot: int, item: int) -> None:
        """Start sending a filled slot."""
        peer = self._peers[item % len(self._peers)]
        self._requests[slot] = dist.isend(self.slots[slot].bytes, dst=peer, tag=self._tag)
