"""A channel inside one process: a copy between stages that the same rank hosts, on one device or two.

What is sent waits for a receiver to have asked, as with messages between ranks. On the CPU each stage has a
thread and both sides block; on CUDA one thread queues every stage and only streams wait:

    source copy stream   wait(computed), wait(consumed) . peer copy . record(arrived)
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass

import torch

from partkit.transport.edge import Event, Handle

_WAIT_S = 600.0


class Done:
    """A transfer that is over."""

    def wait(self) -> None:
        """Return at once."""


class Arrival:
    """A transfer that the other side has yet to make."""

    def __init__(self, compute: torch.cuda.Stream | None) -> None:
        self._compute, self._made = compute, threading.Event()
        self._copied: Event | None = None

    def made(self, copied: Event | None) -> None:
        """Called by the sender; ``copied`` is the end of a copy that CUDA has queued."""
        self._copied = copied
        self._made.set()

    def wait(self) -> None:
        """Return when it is there, on CUDA when the compute stream is made to wait for it."""
        if not self._made.wait(_WAIT_S):
            raise TimeoutError(f"a stage of the same rank sent nothing within {_WAIT_S:.0f} s")
        if self._compute is not None and self._copied is not None:
            self._compute.wait_event(self._copied)


class Departure:
    """A queued copy out of a send buffer."""

    def __init__(self, compute: torch.cuda.Stream, copied: torch.cuda.Event) -> None:
        self._compute, self._copied = compute, copied

    def wait(self) -> None:
        """Make the sender's compute stream wait for the copy."""
        self._compute.wait_event(self._copied)


@dataclass(frozen=True)
class _Asked:
    data: torch.Tensor
    consumed: Event | None
    arrival: Arrival


class LocalChannel:
    """Both directions' ends of a channel; ``source`` and ``target`` are the stages' compute streams on CUDA."""

    def __init__(self, source: torch.cuda.Stream | None, target: torch.cuda.Stream | None) -> None:
        self._source, self._target = source, target
        self._asked: queue.SimpleQueue[_Asked] = queue.SimpleQueue()
        if source is not None and target is not None:
            self._copies, self._landings = torch.cuda.Stream(source.device), torch.cuda.Stream(target.device)

    def receive(self, slot: int, data: torch.Tensor, after: Event | None) -> Handle:  # noqa: ARG002 - in order
        """Ask for the next message."""
        arrival = Arrival(self._target)
        self._asked.put(_Asked(data, after, arrival))
        return arrival

    def send(self, slot: int, data: torch.Tensor, after: Event | None, to_slot: int) -> Handle:  # noqa: ARG002
        """Copy to the buffer that was asked with first, once one has been."""
        asked = self._asked.get(timeout=_WAIT_S)
        if self._source is None:
            asked.data.copy_(data)
            asked.arrival.made(None)
            return Done()
        for event in (after, asked.consumed):
            if event is not None:
                self._copies.wait_event(event)
        with torch.cuda.stream(self._landings), torch.cuda.stream(self._copies):  # a peer copy waits for both devices'
            asked.data.copy_(data, non_blocking=True)
        copied = self._copies.record_event()
        asked.arrival.made(copied)
        return Departure(self._source, copied)
