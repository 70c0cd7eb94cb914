"""Edges over NCCL: a communicator for each pair of ranks, a stream for each direction, no host waits.

    receive stream   wait(consumed s) . recv . record(arrived s)
    compute stream   wait(arrived s), wait(sent s) . stage graph . record(computed s)
    send stream      wait(computed s) . send . record(sent s)

An irecv makes NCCL's stream wait for the current one, so each call is posted from its own stream and never
from the compute stream.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist

from partkit.stages import ValueSpec
from partkit.transport.buffers import SlotBuffer


class NcclReceiver:
    """Receives one edge's values into ``slots``; item i comes from ``peers[i mod len(peers)]``."""

    def __init__(
        self,
        values: Sequence[ValueSpec],
        peers: Sequence[int],
        groups: Sequence[dist.ProcessGroup],
        num_slots: int,
        compute: torch.cuda.Stream,
    ) -> None:
        self.slots = [SlotBuffer(values, compute.device) for _ in range(num_slots)]
        self._peers, self._groups = peers, groups
        self._compute, self._stream = compute, torch.cuda.Stream(compute.device)
        self._arrived = [torch.cuda.Event() for _ in range(num_slots)]

    def post(self, slot: int, item: int) -> None:
        """Queue the receipt of an item behind what the compute stream has queued so far."""
        consumed = self._compute.record_event()
        turn = item % len(self._peers)
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(consumed)
            work = dist.irecv(self.slots[slot].bytes, src=self._peers[turn], group=self._groups[turn])
            assert work is not None
            work.wait()
            self._arrived[slot].record(self._stream)

    def wait(self, slot: int) -> None:
        """Make the compute stream wait for the slot's item."""
        self._compute.wait_event(self._arrived[slot])


class NcclSender:
    """Sends one edge's values from ``slots``; item i goes to ``peers[i mod len(peers)]``."""

    def __init__(
        self,
        values: Sequence[ValueSpec],
        peers: Sequence[int],
        groups: Sequence[dist.ProcessGroup],
        num_slots: int,
        compute: torch.cuda.Stream,
    ) -> None:
        self.slots = [SlotBuffer(values, compute.device) for _ in range(num_slots)]
        self._peers, self._groups = peers, groups
        self._compute, self._stream = compute, torch.cuda.Stream(compute.device)
        self._sent = [torch.cuda.Event() for _ in range(num_slots)]

    def ready(self, slot: int) -> None:
        """Make the compute stream wait until the slot's former item has left (at once for the first)."""
        self._compute.wait_event(self._sent[slot])

    def send(self, slot: int, item: int) -> None:
        """Queue the sending of a slot behind what the compute stream has queued so far."""
        computed = self._compute.record_event()
        turn = item % len(self._peers)
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(computed)
            work = dist.isend(self.slots[slot].bytes, dst=self._peers[turn], group=self._groups[turn])
            assert work is not None
            work.wait()
            self._sent[slot].record(self._stream)
