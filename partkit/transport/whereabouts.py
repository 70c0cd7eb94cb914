"""Which host and device each rank is on, known to all ranks, and so which ranks can copy to which."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist

from partkit.data.document import digest


@dataclass(frozen=True)
class Whereabouts:
    """One rank's host and CUDA device. ``host`` and ``gpu`` are digests, ``index`` is the device's in that process."""

    host: int
    gpu: int
    index: int
    draw: int
    """A random number, for names that no other job has."""


def gather(device: torch.device) -> list[Whereabouts]:
    """Every rank's whereabouts, by rank; all ranks call this."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 - a device file
        host = _number(f"{socket.gethostname()} {file.read()}")
    own = [host, _gpu(device.index), device.index, _number(os.urandom(8).hex())]
    mine = torch.tensor(own, dtype=torch.int64)
    told = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(told, mine)
    return [Whereabouts(*(int(value) for value in entry)) for entry in told]


def has_peer_access(source: Whereabouts, target: Whereabouts, *, gpu_of: Callable[[int], int] | None = None) -> bool:
    """Whether one rank's device can write another's memory, as far as this process can see both.

    ``NCCL_P2P_DISABLE=1`` stands for a machine where none can, as it does for NCCL. ``gpu_of`` gives the digest of a
    device of this process by index.
    """
    if os.environ.get("NCCL_P2P_DISABLE", "0") not in ("", "0") or source.host != target.host:
        return False
    if source.gpu == target.gpu:
        return True
    known = gpu_of or _gpu
    if known(source.index) != source.gpu or known(target.index) != target.gpu:
        return False  # CUDA_VISIBLE_DEVICES differs between the ranks
    return torch.cuda.can_device_access_peer(source.index, target.index)


def _gpu(index: int) -> int:
    if index >= torch.cuda.device_count():
        return 0
    return _number(str(torch.cuda.get_device_properties(index).uuid))


def _number(text: str) -> int:
    """63 bits of a digest."""
    return int(digest(text)[:16], 16) >> 1
