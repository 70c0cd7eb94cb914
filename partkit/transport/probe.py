"""What a link costs: ping-pong over sizes between two ranks, fitted to latency + bytes / bandwidth."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
import torch.distributed as dist

from partkit.errors import MachineError

SIZES_BYTES = (1024, 16384, 131072, 1048576, 4194304)
_ROUNDS = 20


def ping_pong(rank: int, pair: tuple[int, int], device: torch.device, group: dist.ProcessGroup | None) -> list[float]:
    """Seconds one way for each of :data:`SIZES_BYTES`, on both ranks of ``pair``; [] on others.

    What comes back is compared bit for bit: bad peer copies are a real fault. Raises :class:`MachineError`.
    """
    if rank not in pair:
        return []
    other = pair[1] if rank == pair[0] else pair[0]
    return [_one_way_s(size, rank == pair[0], other, device, group) for size in SIZES_BYTES]


def _one_way_s(size: int, leads: bool, other: int, device: torch.device, group: dist.ProcessGroup | None) -> float:
    sent = (torch.arange(size, device=device) % 251).to(torch.uint8)
    buffer = sent.clone() if leads else torch.zeros_like(sent)
    samples = []
    for _ in range(_ROUNDS + 3):
        _settle(device)
        begin = time.perf_counter()
        if leads:
            dist.send(buffer, other, group=group)
            dist.recv(buffer, other, group=group)
        else:
            dist.recv(buffer, other, group=group)
            dist.send(buffer, other, group=group)
        _settle(device)
        samples.append((time.perf_counter() - begin) / 2)
    if not torch.equal(buffer, sent):
        raise MachineError(f"{size} bytes sent between ranks came back changed", hint="set NCCL_P2P_DISABLE=1")
    return sorted(samples[3:])[_ROUNDS // 2]


def fit_link(seconds: Sequence[float]) -> tuple[float, float]:
    """Latency in seconds and bytes per second from one-way times of :data:`SIZES_BYTES`.

    The latency is the smallest size's time less its own transfer, the bandwidth the largest difference quotient's.

    >>> latency_s, bytes_per_s = fit_link([1e-5 + size / 1e9 for size in SIZES_BYTES])
    >>> round(latency_s, 9), round(bytes_per_s)
    (1e-05, 1000000000)
    """
    slope = (seconds[-1] - seconds[0]) / (SIZES_BYTES[-1] - SIZES_BYTES[0])
    bytes_per_s = 1.0 / max(slope, 1e-13)
    return max(seconds[0] - SIZES_BYTES[0] / bytes_per_s, 0.0), bytes_per_s


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
