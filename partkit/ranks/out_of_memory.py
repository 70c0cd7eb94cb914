"""What is told of a rank whose device or host had no memory left: in numbers, and never in a library's words."""

from __future__ import annotations

import re

import psutil
import torch

from partkit.data.job import Job, RunJob
from partkit.data.places import places
from partkit.data.units import format_bytes, parse_bytes
from partkit.errors import OutOfMemoryError
from partkit.executors import executor_info
from partkit.machine.memory import memory_of, told_tenants

ADVICE = "plan with more --stages, a lower --cap or --dtype bfloat16, or free that memory"
_ASKED = (r"Tried to allocate ([\d.]+ ?[KMGT]?i?B)", r"you tried to allocate (\d+) bytes")
"""How torch's allocators, of CUDA and of the host, say how much was asked for."""


def memory_words(error: BaseException, job: Job, rank: int) -> str:
    """What was asked for, what is free, what the rank holds and was planned to, and who holds the rest."""
    if isinstance(error, OutOfMemoryError):  # found out before anything was loaded: it has the numbers
        return str(error)
    device = torch.device("cpu") if job.device == "cpu" else torch.device("cuda", job.devices[rank])
    on_host = device.type == "cpu" or "DefaultCPUAllocator" in str(error) or isinstance(error, MemoryError)
    where = torch.device("cpu") if on_host else device
    told = [f"out of memory on {'the host' if on_host else where}"]
    asked = asked_bytes(str(error))
    if asked is not None:
        told.append(f"{format_bytes(asked)} more were asked for")
    try:
        free, total = memory_of(where)
        held = psutil.Process().memory_info().rss if on_host else torch.cuda.memory_reserved(where)
    except RuntimeError:  # the fault broke the context
        return ": ".join(told)
    told.append(f"{format_bytes(free)} of {format_bytes(total)} are free")
    planned = _planned_bytes(job, rank)
    told.append(
        f"this rank holds {format_bytes(held)}" + (f", planned were {format_bytes(planned)}" if planned else "")
    )
    return f"{told[0]}: {', '.join(told[1:])}{told_tenants(where)}"


def asked_bytes(text: str) -> int | None:
    """The bytes that an allocator's message says were asked for.

    >>> asked_bytes("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has ...")
    20971520
    >>> asked_bytes("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes. Error code 12")
    4096
    """
    for pattern in _ASKED:
        found = re.search(pattern, text)
        if found is not None:
            return parse_bytes(found.group(1))
    return None


def _planned_bytes(job: Job, rank: int) -> int:
    """What the plan expects the rank's stages to take; 0 where it runs none of them."""
    if not isinstance(job, RunJob) or not executor_info(job.executor).runs_stages:
        return 0
    own = [place.stage for place in places(job.plan, job.host_by_place) if place.rank == rank]
    return sum(job.plan.stages[stage].peak_bytes for stage in own)
