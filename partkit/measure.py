"""Around a measurement: GPU use by NVML, memory peaks, the machine's description, statistics."""

from __future__ import annotations

import functools
import operator
import os
import platform
import random
import shlex
import socket
import statistics
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

_SAMPLE_S = 0.1
_BOOTSTRAP_ROUNDS = 2000
_THROTTLES = {
    0x04: "software power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""NVML's clock event reasons (nvml.h, nvmlClocksEventReason*)."""
_ROLLING = 3
_SETTLED_WITHIN = 0.05
_PACKAGES = ("partkit", "torch", "transformers", "deepspeed", "accelerate", "networkx", "numpy")


@dataclass(frozen=True)
class GpuUse:
    """What NVML saw of one GPU during a run: percent, and why clocks were held down, where they were."""

    util_mean: float
    util_max: float
    throttled_by: tuple[str, ...]


class GpuSampler:
    """Polls NVML about one CUDA device in a thread; sees nothing where NVML is absent."""

    def __init__(self, device_index: int) -> None:
        self._samples: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._handle = _nvml_handle(device_index)
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
        return GpuUse(util_mean=statistics.fmean(uses), util_max=max(uses), throttled_by=held_by)

    def _poll(self) -> None:
        import pynvml as nvml

        while not self._stop.wait(_SAMPLE_S):
            try:
                use = float(nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu)
                self._samples.append((use, int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle))))
            except nvml.NVMLError:  # some machines let nobody ask
                return


def throttle_names(reasons: int) -> tuple[str, ...]:
    """NVML's reasons for lower clocks that make a measurement doubtful; being idle or set so is none.

    >>> throttle_names(0x1 | 0x40)
    ('hardware thermal slowdown',)
    """
    return tuple(name for bit, name in _THROTTLES.items() if reasons & bit)


def _nvml_handle(device_index: int) -> Any:
    import pynvml
    import torch

    try:
        pynvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(device_index).uuid}"  # CUDA_VISIBLE_DEVICES renumbers CUDA only
        return pynvml.nvmlDeviceGetHandleByUUID(uuid)
    except pynvml.NVMLError:
        return None


def describe_gpus() -> dict[str, Any]:
    """Driver, GPUs with their clocks and limits, and NCCL's version and settings; empty without NVML."""
    import pynvml as nvml

    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        return {
            "driver": nvml.nvmlSystemGetDriverVersion(),
            "gpus": [
                {
                    "name": nvml.nvmlDeviceGetName(handle),
                    "sm_clock_mhz": nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
                    "sm_clock_max_mhz": nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM),
                    "power_limit_w": nvml.nvmlDeviceGetPowerManagementLimit(handle) / 1e3,
                }
                for handle in handles
            ],
            "nccl": _nccl_version(),
            "nccl_settings": {name: value for name, value in os.environ.items() if name.startswith("NCCL_")},
        }
    except nvml.NVMLError:
        return {}


def _nccl_version() -> str | None:
    import torch

    if not torch.distributed.is_nccl_available():
        return None
    return ".".join(str(part) for part in torch.cuda.nccl.version())


def host_peak_bytes() -> int:
    """The process's largest resident size so far.

    Not ``ru_maxrss``, which begins at the size of the process that started this one.
    """
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123 - a device file
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def bootstrap_ci95(samples: Sequence[float], *, seed: int = 0) -> tuple[float, float]:
    """95% interval of the median by resampling (Efron 1979); the single value twice for one sample.

    >>> bootstrap_ci95([5.0])
    (5.0, 5.0)
    """
    draw = random.Random(seed)
    medians = sorted(statistics.median(draw.choices(samples, k=len(samples))) for _ in range(_BOOTSTRAP_ROUNDS))
    return medians[int(0.025 * _BOOTSTRAP_ROUNDS)], medians[int(0.975 * _BOOTSTRAP_ROUNDS) - 1]


def is_settled(rates: Sequence[float]) -> bool:
    """True once the median of the last three rates is within 5% of the median of the three one step before.

    >>> is_settled([1.0, 5.0, 5.0]), is_settled([1.0, 5.0, 5.1, 5.0])
    (False, True)
    """
    if len(rates) <= _ROLLING:
        return False
    now, before = statistics.median(rates[-_ROLLING:]), statistics.median(rates[-_ROLLING - 1 : -1])
    return abs(now - before) <= _SETTLED_WITHIN * now


def percentile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank percentile.

    >>> percentile([3.0, 1.0, 2.0], 0.5)
    2.0
    """
    ordered = sorted(samples)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def describe_environment() -> dict[str, Any]:
    """Host, versions and command: what a result must be read with."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "host": socket.gethostname(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "versions": versions,
        "command": shlex.join(sys.argv),
    }


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - a device file
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"
