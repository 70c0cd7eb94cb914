"""When the turns of a place have ended: at once on the CPU, by events on CUDA.

CPU     step t: [compute t]                                 has ended when the call returns
CUDA    step t: queue [begun?] compute t [ended]            ends later; the host queues up to 128 turns ahead,
                                                            on the stream of the slot's lane
        and where outputs leave at once, on a stream of its own: wait(ended) . copy outputs . [left]
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable
from typing import Protocol

import torch

from partkit.machine.clock import call_s, streams_s
from partkit.transport.lanes import Lanes

_AHEAD = 128
"""Turns that the host queues ahead of the device: 40 ms of stages that take 0.3. Virtual machines have been seen to
call CUDA ten times slower for 20 ms."""

_SAMPLE_EVERY = 8
"""Turns at least between those whose time on the device is taken: another event on the compute stream each time would
slow short stages."""

_LOOK_S = 2e-5
"""How often a host that waits for an arrival looks whether an item has ended on its device."""


class Clock(Protocol):
    """Runs the turns of one place and knows their ends."""

    ends_at_once: bool
    """True where a turn has ended when :meth:`run` returns."""
    ahead: int
    """Turns that may be under way at once."""
    look_s: float
    """Longest that the host may sleep without looking whether a turn has ended."""
    waited_s: float
    """Seconds of this run in which the host waited for the device."""

    def begin(self) -> None:
        """Begin a run: turns count from 0 again."""

    def run(self, turn: int, slot: int, compute: Callable[[], None], /) -> None:
        """Compute a turn in its slot, or queue it."""

    def leave(self, turn: int, copy: Callable[[], None], /) -> None:
        """Copy the outputs of a turn that was just run, or queue that behind it; the turn ends once they have left."""

    def follow(self, turn: int, slot: int, /) -> None:
        """Let what is run next in a slot begin only when an earlier turn, whose outputs lie there, has ended."""

    def values_of(self, turn: int, /) -> torch.cuda.Event | None:
        """What another stream waits for before it uses the turn's values; None where they are there."""

    def end_of(self, turn: int, /) -> torch.cuda.Event | None:
        """What another stream waits for before it overwrites what the turn used, outputs that leave included."""

    def has_ended(self, turn: int, /) -> bool:
        """True once a turn that was run has ended."""

    def wait(self, turn: int, /) -> None:
        """Wait for the end of a turn that was run."""

    def busy_s(self, num_turns: int, /) -> float:
        """Seconds that the device computed in a run of ``num_turns``, all of which were waited for."""

    def reading(self) -> contextlib.AbstractContextManager[object]:
        """The stream on which outputs of ended turns are read."""

    def alone_s(self, compute: Callable[[int], None], *, shared: bool, lanes: int | None = None) -> float:
        """Seconds per item of computations by themselves, every lane full: each is told a slot to compute in.

        ``shared`` as in :func:`partkit.machine.clock.call_s`; ``lanes``: the first of them alone are used.
        """


class CpuClock:
    """Turns on the CPU, computed by the calling thread."""

    ends_at_once, ahead, look_s = True, 1, math.inf

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """See :class:`Clock`."""
        self.waited_s = self._busy_s = 0.0

    def run(self, _turn: int, _slot: int, compute: Callable[[], None]) -> None:
        """See :class:`Clock`."""
        begin = time.perf_counter()
        compute()
        self._busy_s += time.perf_counter() - begin

    def leave(self, _turn: int, copy: Callable[[], None]) -> None:
        """See :class:`Clock`."""
        copy()

    def follow(self, _turn: int, _slot: int) -> None:
        """See :class:`Clock`."""

    def values_of(self, _turn: int) -> None:
        """See :class:`Clock`."""

    def end_of(self, _turn: int) -> None:
        """See :class:`Clock`."""

    def has_ended(self, _turn: int) -> bool:
        """See :class:`Clock`."""
        return True

    def wait(self, _turn: int) -> None:
        """See :class:`Clock`."""

    def busy_s(self, _num_turns: int) -> float:
        """See :class:`Clock`."""
        return self._busy_s

    def reading(self) -> contextlib.AbstractContextManager[object]:
        """See :class:`Clock`."""
        return contextlib.nullcontext()

    def alone_s(self, compute: Callable[[int], None], *, shared: bool, lanes: int | None = None) -> float:  # noqa: ARG002
        """See :class:`Clock`."""
        return call_s(lambda: compute(0), torch.device("cpu"), shared=shared)


class CudaClock:
    """Turns on the compute streams of a place's lanes, each ended by an event; about every eighth is also timed."""

    ends_at_once, look_s = False, _LOOK_S

    def __init__(self, compute: Lanes, *, num_slots: int) -> None:
        self._compute, self.ahead = compute, max(_AHEAD, num_slots)
        self._sample_every = sampling_stride(len(compute))
        self._begun = [torch.cuda.Event(enable_timing=True) for _ in range(self.ahead)]
        self._computed = [torch.cuda.Event(enable_timing=True) for _ in range(self.ahead)]
        self._left = [torch.cuda.Event() for _ in range(self.ahead)]
        self._ended = list(self._computed)
        """What ends each turn: that it is computed, or that its outputs have left."""
        self._leaving = torch.cuda.Stream(compute.device)
        """Outputs leave on a stream of their own, not behind the items that are queued already."""
        self.begin()

    def begin(self) -> None:
        """See :class:`Clock`."""
        self.waited_s, self._sampled_s, self._num_sampled = 0.0, 0.0, 0

    def run(self, turn: int, slot: int, compute: Callable[[], None]) -> None:
        """See :class:`Clock`."""
        place, stream = turn % self.ahead, self._compute.of(slot)
        if turn % self._sample_every == 0:
            self._begun[place].record(stream)
        compute()
        self._computed[place].record(stream)
        self._ended[place] = self._computed[place]

    def leave(self, turn: int, copy: Callable[[], None]) -> None:
        """See :class:`Clock`."""
        place = turn % self.ahead
        self._leaving.wait_event(self._computed[place])
        torch.cuda.set_stream(self._leaving)  # as all do that queue work: a context each time takes the host longer
        copy()
        self._left[place].record(self._leaving)
        self._ended[place] = self._left[place]

    def follow(self, turn: int, slot: int) -> None:
        """See :class:`Clock`."""
        self._compute.of(slot).wait_event(self._ended[turn % self.ahead])

    def values_of(self, turn: int) -> torch.cuda.Event:
        """See :class:`Clock`."""
        return self._computed[turn % self.ahead]

    def end_of(self, turn: int) -> torch.cuda.Event:
        """See :class:`Clock`."""
        return self._ended[turn % self.ahead]

    def has_ended(self, turn: int) -> bool:
        """See :class:`Clock`."""
        return bool(self._ended[turn % self.ahead].query())

    def wait(self, turn: int) -> None:
        """See :class:`Clock`."""
        begin, place = time.perf_counter(), turn % self.ahead
        self._ended[place].synchronize()
        self.waited_s += time.perf_counter() - begin
        if turn % self._sample_every == 0:
            self._sampled_s += self._begun[place].elapsed_time(self._computed[place]) / 1e3
            self._num_sampled += 1

    def busy_s(self, num_turns: int) -> float:
        """See :class:`Clock`; from the mean of the turns that were timed, one of each lane going on at once."""
        return self._sampled_s / self._num_sampled * num_turns / len(self._compute) if self._num_sampled else 0.0

    def reading(self) -> contextlib.AbstractContextManager[object]:
        """See :class:`Clock`."""
        return torch.cuda.stream(self._leaving)

    def alone_s(self, compute: Callable[[int], None], *, shared: bool, lanes: int | None = None) -> float:  # noqa: ARG002
        """See :class:`Clock`; one follows the other without a gap, as in a full pipeline."""
        return streams_s(compute, self._compute.streams[:lanes])


def sampling_stride(num_lanes: int) -> int:
    """Turns between those that are timed: prime to the lanes, so that each has its turn.

    >>> sampling_stride(1), sampling_stride(4), sampling_stride(9)
    (8, 9, 8)
    """
    return next(stride for stride in itertools.count(_SAMPLE_EVERY) if math.gcd(stride, num_lanes) == 1)
