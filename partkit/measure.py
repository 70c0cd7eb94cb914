"""Around a measurement: GPU use by NVML, memory peaks, the machine's description, statistics."""

from __future__ import annotations

import os
import platform
import random
import shlex
import socket
import statistics
import sys
import threading
from collections.abc import Sequence
from importlib import metadata
from typing import Any

_SAMPLE_S = 0.1
_BOOTSTRAP_ROUNDS = 2000
_PACKAGES = ("partkit", "torch", "transformers", "deepspeed", "accelerate", "networkx", "numpy")


class GpuSampler:
    """Polls NVML's utilisation of one CUDA device in a thread; gives None everywhere NVML is absent."""

    def __init__(self, device_index: int | None) -> None:
        self._samples: list[float] = []
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

    def stop(self) -> tuple[float | None, float | None]:
        """End sampling; mean and maximum utilisation in percent, or None for both."""
        if self._thread is None:
            return None, None
        self._stop.set()
        self._thread.join()
        self._thread = None
        if not self._samples:
            return None, None
        return statistics.fmean(self._samples), max(self._samples)

    def _poll(self) -> None:
        import pynvml

        while not self._stop.wait(_SAMPLE_S):
            self._samples.append(float(pynvml.nvmlDeviceGetUtilizationRates(self._handle).gpu))


def _nvml_handle(device_index: int | None) -> Any:
    if device_index is None:
        return None
    import pynvml
    import torch

    try:
        pynvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(device_index).uuid}"  # CUDA_VISIBLE_DEVICES renumbers CUDA only
        return pynvml.nvmlDeviceGetHandleByUUID(uuid)
    except pynvml.NVMLError:
        return None


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
