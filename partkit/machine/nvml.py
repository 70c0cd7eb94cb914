"""What NVML tells of GPUs, each figure None where it does not: no library, no driver, or no leave to ask."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

_MOST_NVLINKS = 18


@dataclass(frozen=True)
class Gpu:
    """One GPU as NVML counts them, whatever ``CUDA_VISIBLE_DEVICES`` hides."""

    index: int
    uuid: str
    name: str
    total_bytes: int | None
    free_bytes: int | None
    compute_mode: int | None
    mig_enabled: bool
    ecc_errors: int | None
    """Uncorrected since the driver was loaded."""
    throttled_by: int
    """NVML's reasons for lower clocks, as bits."""
    pcie_generation: int | None
    """Now: an idle card lowers it."""
    pcie_width: int | None
    slot_generation: int | None
    slot_width: int | None
    card_generation: int | None
    nvlinks: int


@dataclass(frozen=True)
class Driver:
    """The driver and its GPUs; ``fault`` where there is none to ask."""

    version: str | None = None
    cuda: str | None = None
    """The newest CUDA that the driver can run, as ``12.8``."""
    gpus: tuple[Gpu, ...] = ()
    fault: str | None = None


def driver() -> Driver:
    """Ask NVML for everything; makes no CUDA context."""
    try:
        import pynvml as nvml

        nvml.nvmlInit()
    except Exception as error:  # noqa: BLE001 - a broken binding raises anything at its import
        return Driver(fault=f"{type(error).__name__}: {error}")
    version = _ask(nvml, "nvmlSystemGetDriverVersion")
    number = _ask(nvml, "nvmlSystemGetCudaDriverVersion_v2")
    gpus = tuple(_gpu(nvml, index) for index in range(_ask(nvml, "nvmlDeviceGetCount") or 0))
    return Driver(
        version=None if version is None else str(version),
        cuda=None if number is None else f"{number // 1000}.{number % 1000 // 10}",
        gpus=gpus,
    )


@contextlib.contextmanager
def pcie_reader(uuid: str) -> Iterator[Callable[[], tuple[int | None, int | None]]]:
    """A function that reads a GPU's present PCI Express generation and width, by its uuid as NVML spells it."""
    try:
        import pynvml as nvml

        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
    except Exception:  # noqa: BLE001 - as in driver()
        yield lambda: (None, None)
        return
    yield lambda: (
        _ask(nvml, "nvmlDeviceGetCurrPcieLinkGeneration", handle),
        _ask(nvml, "nvmlDeviceGetCurrPcieLinkWidth", handle),
    )


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = _ask(nvml, "nvmlDeviceGetMemoryInfo", handle)
    mig = _ask(nvml, "nvmlDeviceGetMigMode", handle)
    links = [_ask(nvml, "nvmlDeviceGetNvLinkState", handle, link) for link in range(_MOST_NVLINKS)]
    ecc = _ask(
        nvml,
        "nvmlDeviceGetTotalEccErrors",
        handle,
        getattr(nvml, "NVML_MEMORY_ERROR_TYPE_UNCORRECTED", 1),
        getattr(nvml, "NVML_VOLATILE_ECC", 0),
    )
    return Gpu(
        index=index,
        uuid=str(_ask(nvml, "nvmlDeviceGetUUID", handle)),
        name=str(_ask(nvml, "nvmlDeviceGetName", handle)),
        total_bytes=None if memory is None else int(memory.total),
        free_bytes=None if memory is None else int(memory.free),
        compute_mode=_ask(nvml, "nvmlDeviceGetComputeMode", handle),
        mig_enabled=bool(mig and mig[0]),
        ecc_errors=ecc,
        throttled_by=int(_ask(nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", handle) or 0),
        pcie_generation=_ask(nvml, "nvmlDeviceGetCurrPcieLinkGeneration", handle),
        pcie_width=_ask(nvml, "nvmlDeviceGetCurrPcieLinkWidth", handle),
        slot_generation=_ask(nvml, "nvmlDeviceGetMaxPcieLinkGeneration", handle),
        slot_width=_ask(nvml, "nvmlDeviceGetMaxPcieLinkWidth", handle),
        card_generation=_ask(nvml, "nvmlDeviceGetGpuMaxPcieLinkGeneration", handle),
        nvlinks=sum(1 for state in links if state),
    )


def _ask(nvml: Any, function: str, *arguments: Any) -> Any:
    """What a function of NVML answers; None where this binding, driver or GPU has it not, or nobody may ask."""
    try:
        return getattr(nvml, function)(*arguments)
    except (nvml.NVMLError, AttributeError):
        return None
