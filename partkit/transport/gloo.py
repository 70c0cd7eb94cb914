"""A channel over gloo: non-blocking point-to-point calls between two ranks on the CPU."""

from __future__ import annotations

import torch
import torch.distributed as dist

from partkit.transport.edge import Event, Handle


class GlooChannel:
    """One direction of an edge; ``tag`` distinguishes it from other channels between the same ranks."""

    def __init__(self, peer: int, tag: int) -> None:
        self._peer, self._tag = peer, tag

    def receive(self, slot: int, data: torch.Tensor, after: Event | None) -> Handle:  # noqa: ARG002 - nothing to order
        """Start receiving from the peer; returns at once."""
        request = dist.irecv(data, src=self._peer, tag=self._tag)
        assert request is not None
        return request

    def send(self, slot: int, data: torch.Tensor, after: Event | None, to_slot: int) -> Handle:  # noqa: ARG002
        """Start sending to the peer; returns at once."""
        request = dist.isend(data, dst=self._peer, tag=self._tag)
        assert request is not None
        return request
