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

from partkit.transport.edge import Handle


class StreamHandle:
    """Work on another stream that the compute stream can be made to wait for."""

    def __init__(self, compute: torch.cuda.Stream) -> None:
        self._compute, self._done = compute, torch.cuda.Event()

    def record(self, stream: torch.cuda.Stream) -> None:
        """The work is what ``stream`` has queued so far."""
        self._done.record(stream)

    def wait(self) -> None:
        """Make the compute stream wait for the work."""
        self._compute.wait_event(self._done)


class NcclChannel:
    """One direction of an edge, with a process group of its own."""

    def __init__(self, peer: int, group: dist.ProcessGroup, num_slots: int, compute: torch.cuda.Stream) -> None:
        self._peer, self._group, self._compute = peer, group, compute
        self._stream = torch.cuda.Stream(compute.device)
        self._handles = [StreamHandle(compute) for _ in range(num_slots)]

    def receive(self, slot: int, data: torch.Tensor) -> Handle:
        """Queue a receipt behind what the compute stream has queued so far."""
        return self._queue(slot, lambda: dist.irecv(data, src=self._peer, group=self._group))

    def send(self, slot: int, data: torch.Tensor) -> Handle:
        """Queue a sending behind what the compute stream has queued so far."""
        return self._queue(slot, lambda: dist.isend(data, dst=self._peer, group=self._group))

    def _queue(self, slot: int, call: Callable[[], dist.Work | None]) -> Handle:
        self._stream.wait_stream(self._compute)
        with torch.cuda.stream(self._stream):
            work = call()
            assert work is not None
            work.wait()
        handle = self._handles[slot]
        handle.record(self._stream)
        return handle
