"""A description of this machine for results: host, versions, GPUs, peak memory."""

from __future__ import annotations

import os
import platform
import shlex
import socket
import sys
from importlib import metadata
from typing import Any

_PACKAGES = ("partkit", "torch", "transformers", "deepspeed", "accelerate", "networkx", "numpy")


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
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "versions": versions,
        "command": shlex.join(sys.argv),
    }


def package_version(package: str) -> str | None:
    """The installed version of a package, None without it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def cpu_name() -> str:
    """The processor's model name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - a device file
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


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
