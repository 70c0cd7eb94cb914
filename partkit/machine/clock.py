"""Wait for a device, and time work on it: by the host's clock on the CPU, by CUDA events on a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

_STAGE_BUDGET_S = 2.0
_STAGE_MIN_CALLS = 5
_STAGE_MAX_CALLS = 400
_BATCHES = 9
_BATCH_S = 0.06
_BATCH_MAX_CALLS = 2000


def settle(device: torch.device) -> None:
    """Wait until the device is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def call_s(call: Callable[[], object], device: torch.device, *, shared: bool) -> float:
    """Median seconds of one call, over at least five calls and about two seconds.

    ``shared``: more ranks than cores, so that wall time would include waiting for a core; processor time is taken.
    """
    clock = time.process_time if shared and device.type == "cpu" else time.perf_counter
    samples: list[float] = []
    call()
    settle(device)
    start = time.perf_counter()
    while len(samples) < _STAGE_MIN_CALLS or (
        time.perf_counter() - start < _STAGE_BUDGET_S and len(samples) < _STAGE_MAX_CALLS
    ):
        begin = clock()
        call()
        settle(device)
        samples.append(clock() - begin)
    return sorted(samples)[len(samples) // 2]


def stream_s(call: Callable[[], object], stream: torch.cuda.Stream) -> float:
    """Seconds per call of work queued on ``stream`` back to back: the median over nine batches, by CUDA events."""
    return streams_s(lambda _: call(), [stream])


def streams_s(call: Callable[[int], object], streams: Sequence[torch.cuda.Stream]) -> float:
    """As :func:`stream_s`, of calls that go round the streams, each full: ``call`` is given the place of its own."""
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    main, *others = streams
    samples: list[float] = []
    count = 5 * len(streams)
    while len(samples) < _BATCHES:
        first.record(main)
        for other in others:
            other.wait_event(first)
        for number in range(count):
            call(number % len(streams))
        for other in others:
            main.wait_event(other.record_event())
        last.record(main)
        last.synchronize()
        seconds = first.elapsed_time(last) / 1e3
        if seconds < _BATCH_S / 2 and count < _BATCH_MAX_CALLS:
            count = min(max(count + 1, round(count * _BATCH_S / max(seconds, 1e-6))), _BATCH_MAX_CALLS)
            continue
        samples.append(seconds / count)
    return sorted(samples)[_BATCHES // 2]
