"""GPU use by NVML during a run, sampled in a thread."""

from __future__ import annotations

import functools
import itertools
import operator
import statistics
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_SAMPLE_S = 0.1
_MOST_STRETCHES = 60
_THROTTLES = {
    0x04: "software power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""NVML's clock event reasons (nvml.h, nvmlClocksEventReason*)."""


@dataclass(frozen=True)
class GpuUse:
    """One GPU's utilisation during a run in percent, by NVML, and why its clocks were throttled, if they were."""

    util_mean: float
    util_max: float
    throttled_by: tuple[str, ...]
    util_over_time: tuple[float, ...] = ()
    """Means of equal stretches of the run, at most 60 of them."""


class GpuSampler:
    """Polls NVML about one CUDA device in a thread; without NVML there are no samples."""

    def __init__(self, device_index: int) -> None:
        self._samples: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._handle = nvml_handle(device_index)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin sampling, every tenth of a second."""
        if self._handle is not None:
            self._samples.clear()
            self._stop.clear()
            self._thread = threading.Thread(target=self._poll, daemon=True)
            self._thread.start()

    def stop(self) -> GpuUse | None:
        """End sampling; None without NVML, or where the run was too short for a sample."""
        if self._thread is None:
            return None
        self._stop.set()
        self._thread.join()
        self._thread = None
        if not self._samples:
            return None
        uses, reasons = zip(*self._samples, strict=True)
        held_by = throttle_names(functools.reduce(operator.or_, reasons))
        return GpuUse(statistics.fmean(uses), max(uses), held_by, means_of_stretches(uses, _MOST_STRETCHES))

    def _poll(self) -> None:
        import pynvml as nvml

        while not self._stop.wait(_SAMPLE_S):
            try:
                use = float(nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu)
                self._samples.append((use, int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle))))
            except nvml.NVMLError:  # some machines let nobody ask
                return


def means_of_stretches(samples: Sequence[float], most: int) -> tuple[float, ...]:
    """The samples as they are, or the means of ``most`` stretches of about as many samples each.

    >>> means_of_stretches([1.0, 2.0, 3.0, 4.0, 5.0], 2)
    (1.5, 4.0)
    """
    count = min(most, len(samples))
    ends = [len(samples) * place // count for place in range(count + 1)]
    return tuple(statistics.fmean(samples[begin:end]) for begin, end in itertools.pairwise(ends))


def throttle_names(reasons: int) -> tuple[str, ...]:
    """NVML's reasons for lower clocks that make a measurement doubtful; being idle or set so is none.

    >>> throttle_names(0x1 | 0x40)
    ('hardware thermal slowdown',)
    """
    return tuple(name for bit, name in _THROTTLES.items() if reasons & bit)


def nvml_handle(device_index: int) -> Any:
    """NVML's handle of a CUDA device of this process; None without NVML."""
    import pynvml
    import torch

    try:
        pynvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(device_index).uuid}"  # CUDA_VISIBLE_DEVICES renumbers CUDA only
        return pynvml.nvmlDeviceGetHandleByUUID(uuid)
    except pynvml.NVMLError:
        return None
