"""GPUs without a rank on them: the driver, torch's build for it, each card's memory, holders, slot and NVLink."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from partkit.data.examination import Check
from partkit.data.units import format_bytes
from partkit.machine.gpu_sampler import throttle_names
from partkit.machine.nvml import Driver, Gpu, driver
from partkit.runs.doctor.looked_at import LookedAt, Writer

_LANE_BYTES_PER_S: Mapping[int, float] = {1: 2.5e8, 2: 5e8, 3: 9.85e8, 4: 1.97e9, 5: 3.94e9, 6: 7.56e9}
"""A lane's nominal rate each way, coding taken off (PCI-SIG): 2.5, 5, 8, 16, 32, 64 GT/s."""
_PROHIBITED, _EXCLUSIVE = 2, 3
"""NVML's compute modes (nvml.h, nvmlComputeMode_t)."""

_WRITE = Writer("gpus")


def gpus(seen: LookedAt) -> Iterator[Check]:
    """Ask NVML and what torch told of itself; decides what ranks will compute on."""
    found, torch = driver(), seen.imports.torch
    is_cuda_build = torch.get("cuda") is not None or torch.get("hip") is not None
    yield _driver(found, torch, is_cuda_build=is_cuda_build)
    build = _build(found, torch, is_cuda_build=is_cuda_build)
    if build.status == "broken" and seen.device != "cpu":
        seen.is_broken = True
    yield build
    num_devices = int(torch.get("num_devices") or 0)
    if seen.device == "cuda" and num_devices == 0:
        seen.is_broken = True
        yield _WRITE.broken("CUDA devices", "--device cuda, and torch can use none here", "use --device cpu")
    seen.kind = "cuda" if num_devices > 0 and seen.device != "cpu" else "cpu"
    if is_cuda_build and num_devices:
        yield from _capabilities(torch)
        nccl = torch.get("nccl")
        settings = " ".join(f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("NCCL_"))
        if nccl is None:
            yield _WRITE.warning("NCCL", "torch was built without it: tp, fsdp and pipelines over several hosts fail")
        else:
            yield _WRITE.ok("NCCL", nccl + (f", {settings}" if settings else ""))
    for gpu in found.gpus:
        yield from _card(gpu)


def _driver(found: Driver, torch: Mapping[str, Any], *, is_cuda_build: bool) -> Check:
    if found.fault is not None:
        if torch.get("num_devices"):
            return _WRITE.warning(
                "driver", f"NVML does not answer ({found.fault}): memory, holders and use of GPUs stay unknown"
            )
        return _WRITE.ok("driver", f"none that NVML finds ({found.fault})")
    newest = found.cuda
    finding = f"{found.version}, which runs CUDA up to {newest}; {len(found.gpus)} GPUs"
    if is_cuda_build and newest is not None and torch.get("cuda") and _major(newest) < _major(torch["cuda"]):
        return _WRITE.broken(
            "driver",
            f"{finding}, and torch was built for CUDA {torch['cuda']}",
            f"update the driver, or install a torch for CUDA {_major(newest)}",
        )
    return _WRITE.ok("driver", finding)


def _build(found: Driver, torch: Mapping[str, Any], *, is_cuda_build: bool) -> Check:
    name, version = "torch build", torch.get("version", "?")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = "" if visible is None else f" with CUDA_VISIBLE_DEVICES={visible!r}"
    if not is_cuda_build:
        if found.gpus and torch:
            return _WRITE.warning(
                name,
                f"{version} is built without CUDA, and this machine has {len(found.gpus)} GPUs that it cannot use",
                "install torch for CUDA (see pytorch.org/get-started)",
            )
        return _WRITE.ok(name, f"{version}, for CPUs" if torch else "not told, since torch cannot be imported")
    finding = f"{version} for CUDA {torch.get('cuda')}"
    if torch.get("fault") is not None:
        if not found.gpus:
            return _WRITE.ok(name, f"{finding}; no GPU: {torch['fault']}")
        if visible is not None and visible.strip() in ("", "-1"):
            return _WRITE.ok(name, f"{finding}; all {len(found.gpus)} GPUs are hidden{hidden}")
        return _WRITE.broken(
            name,
            f"{finding} cannot use the {len(found.gpus)} GPUs{hidden}: {torch['fault']}",
            "check the driver, the permissions of /dev/nvidia* and CUDA_VISIBLE_DEVICES",
        )
    return _WRITE.ok(name, f"{finding}, {torch.get('num_devices')} of {len(found.gpus)} GPUs visible{hidden}")


def _capabilities(torch: Mapping[str, Any]) -> Iterator[Check]:
    """Whether torch has kernels for each card: its own generation's, or older ones that run on it."""
    listed = [each for each in torch.get("arch_list", ()) if each.startswith("sm_")]
    built = [int("".join(filter(str.isdigit, each.removeprefix("sm_")))) for each in listed]
    for index, (major, minor) in enumerate(torch.get("capabilities", ())):
        wanted = 10 * major + minor
        if built and not any(each // 10 == major and each <= wanted for each in built):
            yield _WRITE.broken(
                f"GPU {index} kernels",
                f"its compute capability is {major}.{minor}, and torch has kernels for {', '.join(listed)}",
                "install a torch that was built for this card",
            )


def _card(gpu: Gpu) -> Iterator[Check]:
    name = f"GPU {gpu.index}"
    memory = "memory not told"
    if gpu.free_bytes is not None and gpu.total_bytes is not None:
        memory = f"{format_bytes(gpu.free_bytes)} free of {format_bytes(gpu.total_bytes)}"
    yield _WRITE.ok(name, f"{gpu.name}, {memory}" + (f", {gpu.nvlinks} NVLinks up" if gpu.nvlinks else ""))
    if gpu.mig_enabled:
        yield _WRITE.warning(f"{name} MIG", "it is divided (MIG): each part is a device, without peer access to others")
    if gpu.compute_mode == _PROHIBITED:
        yield _WRITE.broken(f"{name} mode", "its compute mode lets nobody compute", "nvidia-smi -c DEFAULT")
    if gpu.compute_mode == _EXCLUSIVE:
        yield _WRITE.warning(
            f"{name} mode",
            "its compute mode lets one process in: compare keeps several executors' ranks on a GPU",
            "nvidia-smi -c DEFAULT",
        )
    if gpu.ecc_errors:
        yield _WRITE.broken(
            f"{name} ECC", f"{gpu.ecc_errors} uncorrected memory errors", "reset the GPU, and replace it if they return"
        )
    reasons = throttle_names(gpu.throttled_by)
    if reasons:
        yield _WRITE.warning(f"{name} clocks", f"held back by {', '.join(reasons)}", "look at cooling and power limits")
    yield from slot(name, gpu)


def slot(name: str, gpu: Gpu) -> Iterator[Check]:
    """The card's slot against what the card can do; how fast it is now says little, since idle links slow down."""
    card, board, width = gpu.card_generation, gpu.slot_generation, gpu.slot_width
    if board is None or width is None:
        return
    rate = _LANE_BYTES_PER_S.get(board, 0.0) * width
    finding = f"PCI Express {board} x{width}, {format_bytes(rate)}/s each way at most"
    if card is not None and card > board:
        yield _WRITE.warning(
            f"{name} slot",
            f"{finding}, and the card can do generation {card}: what crosses it takes "
            f"{_LANE_BYTES_PER_S.get(card, 0.0) / max(_LANE_BYTES_PER_S.get(board, 1.0), 1.0):.0f} times as long",
            "look for another slot, a riser that is too old, or a setting of the firmware",
        )
    elif gpu.pcie_width is not None and gpu.pcie_width < width:  # lanes stay when a link idles
        yield _WRITE.warning(
            f"{name} slot",
            f"{finding}, and only {gpu.pcie_width} lanes are in use",
            "seat the card anew, or see which slots share lanes",
        )
    else:
        yield _WRITE.ok(f"{name} slot", finding)


def _major(version: str) -> int:
    return int(version.partition(".")[0])
