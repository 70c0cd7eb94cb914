"""A channel inside one process: a copy between stages that the same rank hosts, on one device or two.

What is sent waits for a receiver to have asked, as with messages between ranks. On the CPU each stage has a
thread and both sides block; on CUDA one thread queues every stage and only streams wait:

    copy stream     wait(computed), wait(consumed) . copy by a copy engine . record(arrived)
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass

import torch

from partkit.transport.edge import Event, Handle
from partkit.transport.stream import StreamHandle
from partkit.transport.stream_queue import StreamQueue

_WAIT_S = 600.0


class Done:
    """A transfer that is over."""

    def wait(self) -> None:
        """Return at once."""


class Arrival:
    """A transfer that was asked for and that the sender has yet to make."""

    def __init__(self, compute: torch.cuda.Stream | None) -> None:
        self._compute, self._made = compute, threading.Event()
        self._copied: StreamHandle | None = None

    def made(self, copied: StreamHandle | None) -> None:
        """Called by the sender once the copy is done (CPU) or queued as ``copied`` (CUDA)."""
        self._copied = copied
        self._made.set()

    def wait(self) -> None:
        """Block (CPU) until the transfer is done, or make the compute stream wait for it (CUDA).

        Raises :class:`TimeoutError` where nothing was sent within :data:`_WAIT_S`.
        """
        if not self._made.wait(_WAIT_S):
            raise TimeoutError(f"a stage of the same rank sent nothing within {_WAIT_S:.0f} s")
        if self._compute is not None and self._copied is not None:
            self._copied.hold(self._compute)


@dataclass(frozen=True)
class _Asked:
    data: torch.Tensor
    consumed: Event | None
    arrival: Arrival


class LocalChannel:
    """Both directions' ends of a channel; ``source`` and ``target`` are the stages' compute streams on CUDA."""

    def __init__(self, source: torch.cuda.Stream | None, target: torch.cuda.Stream | None, num_slots: int) -> None:
        self._target = target
        self._asked: queue.SimpleQueue[_Asked] = queue.SimpleQueue()
        self._copies: StreamQueue | None = None
        if source is not None and target is not None:
            self._copies = StreamQueue(source, num_slots)
            if source.device != target.device:  # torch opens peer access at the first copy, where there is any
                torch.empty(1, device=target.device).copy_(torch.empty(1, device=source.device))

    def receive(self, slot: int, data: torch.Tensor, after: Event | None) -> Handle:  # noqa: ARG002 - in order
        """Ask for the next message."""
        arrival = Arrival(self._target)
        self._asked.put(_Asked(data, after, arrival))
        return arrival

    def send(self, slot: int, data: torch.Tensor, after: Event | None, to_slot: int) -> Handle:  # noqa: ARG002
        """Copy to the buffer that was asked with first, once one has been."""
        asked = self._asked.get(timeout=_WAIT_S)
        if self._copies is None:
            asked.data.copy_(data)
            asked.arrival.made(None)
            return Done()
        self._copies.follow(after)
        self._copies.follow(asked.consumed)
        self._copies.copy(asked.data.data_ptr(), data.data_ptr(), data.numel())
        copied = self._copies.done(slot)
        asked.arrival.made(copied)
        return copied
