"""A channel over NCCL: a communicator for each channel, a stream for each end, no host waits.

    receive stream   wait(consumed s) . recv . record(arrived s)
    compute stream   wait(arrived s), wait(sent s) . stage graph . record(computed s)
    send stream      wait(computed s) . send . record(sent s)

An irecv makes NCCL's stream wait for the current one, so each call is posted from its channel's stream and never
from the compute stream.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist

from partkit.transport.edge import Event, Handle
from partkit.transport.lanes import Lanes
from partkit.transport.stream import StreamHandle


class NcclChannel:
    """One direction of an edge, with a process group of its own."""

    def __init__(self, peer: int, group: dist.ProcessGroup, num_slots: int, compute: Lanes) -> None:
        self._peer, self._group = peer, group
        self._stream = torch.cuda.Stream(compute.device)
        self._handles = [StreamHandle(compute.of(slot)) for slot in range(num_slots)]

    def receive(self, slot: int, data: torch.Tensor, after: Event | None) -> Handle:
        """Queue a receive on the channel's stream."""
        return self._queue(slot, after, lambda: dist.irecv(data, src=self._peer, group=self._group))

    def send(self, slot: int, data: torch.Tensor, after: Event | None, to_slot: int) -> Handle:  # noqa: ARG002
        """Queue a send on the channel's stream."""
        return self._queue(slot, after, lambda: dist.isend(data, dst=self._peer, group=self._group))

    def _queue(self, slot: int, after: Event | None, call: Callable[[], dist.Work | None]) -> Handle:
        if after is not None:
            self._stream.wait_event(after)
        with torch.cuda.stream(self._stream):
            work = call()
            assert work is not None
            work.wait()
        handle = self._handles[slot]
        handle.record(self._stream)
        return handle
