"""Where the times and outputs of a place's items go: into the trace of a timed run, or to a program that asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping
from typing import Protocol

import torch

from partkit.executors.pipeline.slots import StageSlots
from partkit.executors.protocol import Trace

Sink = Callable[[int, Mapping[str, torch.Tensor]], None]
"""Takes an item's output values by name, complete, on the place's device; they last until it returns."""


class Outlet(Protocol):
    """What is told of each item of a run."""

    def due(self, item: int) -> float | None:
        """When an item arrives (``time.perf_counter()``), before which it does not enter; None: it is there."""

    def entered(self, item: int) -> None:
        """The item goes in now, at a place that feeds the model."""

    def reads(self, item: int, /) -> bool:
        """True where the item's outputs are wanted."""

    def ended(self, item: int) -> None:
        """The item's output is complete, at a place that gives some."""

    def take(self, item: int, slots: StageSlots, slot: int) -> None:
        """Read an item's outputs; asked only where :meth:`reads` is true."""

    def close(self, busy_s: float) -> None:
        """The run has ended, in which the place computed for ``busy_s``."""


class TraceOutlet:
    """A timed run, whose outputs are kept for some items."""

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
    """A program's own items, all of whose outputs it takes."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def due(self, item: int) -> None:
        """See :class:`Outlet`."""

    def entered(self, item: int) -> None:
        """See :class:`Outlet`."""

    def reads(self, _item: int) -> bool:
        """See :class:`Outlet`."""
        return True

    def ended(self, item: int) -> None:
        """See :class:`Outlet`."""

    def take(self, item: int, slots: StageSlots, slot: int) -> None:
        """See :class:`Outlet`."""
        self._sink(item, slots.outputs(slot))

    def close(self, busy_s: float) -> None:
        """See :class:`Outlet`."""
