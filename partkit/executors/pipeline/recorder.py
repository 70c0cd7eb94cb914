"""Who notes when a place's turns waited and computed, in a run that is traced.

    turn t     . . . inputs there . . . slots free . . . computed
               idle: input        idle: slot      compute

On the CPU the host's clock is read at each point; on CUDA an event is recorded on the compute stream and read when the
run is over, so that the host waits for none of them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Protocol

import torch

from partkit.data.places import Place
from partkit.data.timeline import Cause, Event, Track

_POINTS = 3
"""Of a turn: its inputs are there, its slots are free, it is computed."""
_SHORTEST_S = 1e-6
"""Waiting that is no longer leaves no event."""


class Recorder(Protocol):
    """Takes note of a place's points in their order."""

    def mark(self) -> None:
        """The next point is reached, by the host on the CPU and in the stream's order on CUDA."""

    def times(self) -> list[float]:
        """All points so far in ``time.perf_counter()``, the beginning first; on CUDA once the device is idle."""


class CpuRecorder:
    """Points as the host reaches them."""

    def __init__(self) -> None:
        self._times = [time.perf_counter()]

    def mark(self) -> None:
        """See :class:`Recorder`."""
        self._times.append(time.perf_counter())

    def times(self) -> list[float]:
        """See :class:`Recorder`."""
        return self._times


class CudaRecorder:
    """Points as events on a stream, made beforehand: making one takes the host longer than recording it."""

    def __init__(self, stream: torch.cuda.Stream, num_turns: int) -> None:
        self._stream = stream
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(_POINTS * num_turns + 1)]
        self._num_marked = 1
        stream.synchronize()
        self._events[0].record(stream)
        self._events[0].synchronize()
        self._began = time.perf_counter()

    def mark(self) -> None:
        """See :class:`Recorder`."""
        self._events[self._num_marked].record(self._stream)
        self._num_marked += 1

    def times(self) -> list[float]:
        """See :class:`Recorder`."""
        first, *others = self._events[: self._num_marked]
        return [self._began, *(self._began + first.elapsed_time(event) / 1e3 for event in others)]


def events_of(place: Place, items: Sequence[int], times: Sequence[float], origin: float) -> list[Event]:
    """A place's turns as events, in seconds since ``origin``.

    >>> place = Place(index=1, stage=1, replica=0, num_replicas=1, rank=0)
    >>> [(each.track, each.cause, each.begin_s) for each in events_of(place, [7], [0.0, 1.0, 1.5, 3.0], 0.0)]
    [('idle', 'input', 0.0), ('idle', 'slot', 1.0), ('compute', None, 1.5)]
    """
    kinds: tuple[tuple[Track, Cause | None], ...] = (("idle", "input"), ("idle", "slot"), ("compute", None))
    stretches = zip(itertools.cycle(kinds), itertools.pairwise(times), strict=False)
    return [
        Event(
            stage=place.stage,
            replica=place.replica,
            track=track,
            item=items[number // _POINTS],
            begin_s=begin - origin,
            end_s=end - origin,
            cause=cause,
        )
        for number, ((track, cause), (begin, end)) in enumerate(stretches)
        if track == "compute" or end - begin > _SHORTEST_S
    ]
