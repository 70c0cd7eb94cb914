"""Where the times and outputs of a place's items go: into the trace of a timed run, or to a program that asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping
from typing import Protocol

import torch

from partkit.executors.pipeline.slots import StageSlots
from partkit.executors.protocol import Trace

Sink = Callable[[int, Mapping[str, torch.Tensor]], None]
"""Takes an item's output values by name, on the place's device. On CUDA it queues the copies on the current stream,
which waits for the values, and nobody overwrites them before that stream is done with them."""


class Outlet(Protocol):
    """What is told of each item of a run."""

    leaves_at_once: bool
    """True where :meth:`take` is called for each item as soon as it is queued, and copies without waiting."""

    def due(self, item: int) -> float | None:
        """When an item arrives (``time.perf_counter()``), before which it does not enter; None: it is there."""

    def entered(self, item: int) -> None:
        """The item goes in now, at a place that feeds the model."""

    def reads(self, item: int, /) -> bool:
        """True where the item's outputs are read by the host once it has ended."""

    def ended(self, item: int) -> None:
        """The item's output is complete, at a place that gives some."""

    def take(self, item: int, slots: StageSlots, slot: int) -> None:
        """Read an item's outputs, where :meth:`reads` is true or outputs leave at once."""

    def close(self, busy_s: float) -> None:
        """The run has ended, in which the place computed for ``busy_s``."""


class TraceOutlet:
    """A timed run, whose outputs are kept for some items."""

    leaves_at_once = False

    def __init__(self, trace: Trace, keep: Container[int], due: Mapping[int, float] | None = None) -> None:
        self._trace, self._keep, self._due = trace, keep, due

    def due(self, item: int) -> float | None:
        """See :class:`Outlet`."""
        return None if self._due is None else self._due[item]

    def entered(self, item: int) -> None:
        """See :class:`Outlet`; an item that was due has entered then."""
        self._trace.entered.setdefault(item, time.perf_counter() if self._due is None else self._due[item])

    def reads(self, item: int) -> bool:
        """See :class:`Outlet`."""
        return item in self._keep

    def ended(self, item: int) -> None:
        """See :class:`Outlet`."""
        self._trace.finished[item] = time.perf_counter()

    def take(self, item: int, slots: StageSlots, slot: int) -> None:
        """See :class:`Outlet`."""
        self._trace.outputs[item] = slots.leaves_of(slots.outputs(slot))

    def close(self, busy_s: float) -> None:
        """See :class:`Outlet`."""
        self._trace.busy_s += busy_s


class SinkOutlet:
    """A program's own items, all of whose outputs leave for it."""

    leaves_at_once = True

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def due(self, item: int) -> None:
        """See :class:`Outlet`."""

    def entered(self, item: int) -> None:
        """See :class:`Outlet`."""

    def reads(self, _item: int) -> bool:
        """See :class:`Outlet`."""
        return False

    def ended(self, item: int) -> None:
        """See :class:`Outlet`."""

    def take(self, item: int, slots: StageSlots, slot: int) -> None:
        """See :class:`Outlet`."""
        self._sink(item, slots.outputs(slot))

    def close(self, busy_s: float) -> None:
        """See :class:`Outlet`."""
