"""A channel inside one process: a copy between stages that the same rank hosts, on one device or two.

What is sent waits for a receiver to have asked, as with messages between ranks. Where each stage has a thread both
sides block. Where one thread queues the work of every stage only streams wait, and the pipeline's order sees to it that
whoever sends has been asked and whoever waits has been sent to:

    copy stream     wait(computed), wait(consumed) . copy by a copy engine . record(arrived)
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass

import torch

from partkit.transport.edge import Event, Handle
from partkit.transport.lanes import Lanes
from partkit.transport.stream import StreamHandle
from partkit.transport.stream_queue import StreamQueue

WAIT_S = 600.0
"""How long a stage's thread waits for another's."""


class Done:
    """A transfer that is over."""

    def wait(self) -> None:
        """Return at once."""


class Arrival:
    """A transfer that was asked for and that the sender has yet to make."""

    def __init__(self, compute: torch.cuda.Stream | None, wait_s: float) -> None:
        self._compute, self._made, self._wait_s = compute, threading.Event(), wait_s
        self._copied: StreamHandle | None = None

    def made(self, copied: StreamHandle | None) -> None:
        """Called by the sender once the copy is done (CPU) or queued as ``copied`` (CUDA)."""
        self._copied = copied
        self._made.set()

    def wait(self) -> None:
        """Block (CPU) until the transfer is done, or make the compute stream wait for it (CUDA).

        Raises :class:`TimeoutError` where nothing was sent within the channel's ``wait_s``.
        """
        if not self._made.wait(self._wait_s):
            raise TimeoutError(f"a stage of the same rank sent nothing within {self._wait_s:.0f} s")
        if self._compute is not None and self._copied is not None:
            self._copied.hold(self._compute)


@dataclass(frozen=True)
class _Asked:
    data: torch.Tensor
    consumed: Event | None
    arrival: Arrival


class LocalChannel:
    """Both directions' ends of a channel; ``source`` and ``target`` are the stages' lanes on CUDA."""

    def __init__(self, source: Lanes | None, target: Lanes | None, num_slots: int) -> None:
        self._target = target
        self.wait_s = WAIT_S
        """How long one side waits for the other: 0 where one thread serves both."""
        self._asked: queue.SimpleQueue[_Asked] = queue.SimpleQueue()
        self._copies: StreamQueue | None = None
        if source is not None and target is not None:
            self._copies = StreamQueue(source, num_slots)
            if source.device != target.device:  # torch opens peer access at the first copy, where there is any
                torch.empty(1, device=target.device).copy_(torch.empty(1, device=source.device))

    def receive(self, slot: int, data: torch.Tensor, after: Event | None) -> Handle:
        """Ask for the next message."""
        arrival = Arrival(None if self._target is None else self._target.of(slot), self.wait_s)
        self._asked.put(_Asked(data, after, arrival))
        return arrival

    def send(self, slot: int, data: torch.Tensor, after: Event | None, to_slot: int) -> Handle:  # noqa: ARG002
        """Copy to the buffer that was asked with first, once one has been."""
        try:
            asked = self._asked.get(timeout=self.wait_s) if self.wait_s else self._asked.get_nowait()
        except queue.Empty:
            raise TimeoutError(f"a stage of the same rank asked for nothing within {self.wait_s:.0f} s") from None
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
