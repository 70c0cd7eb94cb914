"""The host: cores and who else uses them, memory, and the limits that it sets its processes."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from importlib.util import find_spec

from partkit.data.examination import Check
from partkit.data.units import format_bytes, format_count
from partkit.runs.doctor.looked_at import LookedAt, Writer

_LEAST_FILES = 1024
"""Each rank holds some 60 files and sockets, and the parent some of each rank."""
_LEAST_PROCESSES = 512
"""A rank has some 20 threads besides those that compute."""
_LEAST_LOCKED = 64 << 20
_BUSY = 0.5
"""Load per core from which on measurements suffer."""

_WRITE = Writer("host")


def host(seen: LookedAt) -> Iterator[Check]:
    """Look, measuring nothing."""
    yield _cores(seen)
    yield _threads()
    yield _memory()
    yield _limit("open files", resource.RLIMIT_NOFILE, _LEAST_FILES, "ulimit -n 65536")
    yield _limit("processes and threads", resource.RLIMIT_NPROC, _LEAST_PROCESSES, "ulimit -u unlimited")
    soft = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if soft != resource.RLIM_INFINITY and soft < _LEAST_LOCKED:
        yield _WRITE.ok("locked memory", f"{format_bytes(soft)}: enough for CUDA, and InfiniBand would want more")
    else:
        yield _WRITE.ok("locked memory", "not limited" if soft == resource.RLIM_INFINITY else format_bytes(soft))


def _cores(seen: LookedAt) -> Check:
    usable, all_cores, load = len(os.sched_getaffinity(0)), os.cpu_count() or 1, os.getloadavg()[0]
    finding = f"{usable} of {all_cores} usable, load {load:.1f}"
    if load > _BUSY * usable:
        return _WRITE.warning(
            "cores",
            f"{finding}: others compute, and what is measured now is slower than it could be",
            "measure again on a quiet machine",
        )
    if seen.threads > usable:
        return _WRITE.warning("cores", f"{finding}, and --threads is {seen.threads}", f"use --threads {usable}")
    return _WRITE.ok("cores", finding)


def _threads() -> Check:
    told = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ}
    words = ", ".join(f"{name}={value}" for name, value in told.items()) or "no variable sets them"
    return _WRITE.ok("threads", f"{words}; ranks get theirs from --threads whatever is set")


def _memory() -> Check:
    if find_spec("psutil") is None:
        return _WRITE.warning("memory", "not told: psutil is not installed", "pip install psutil")
    import psutil

    found, swap = psutil.virtual_memory(), psutil.swap_memory()
    finding = f"{format_bytes(found.available)} free of {format_bytes(found.total)}, {format_bytes(swap.used)} swapped"
    if found.available < 0.1 * found.total:
        return _WRITE.warning("memory", f"{finding}: little is left", "end what holds it before you measure")
    return _WRITE.ok("memory", finding)


def _limit(name: str, which: int, least: int, command: str) -> Check:
    soft, hard = resource.getrlimit(which)
    words = "not limited" if soft == resource.RLIM_INFINITY else format_count(soft)
    if soft != resource.RLIM_INFINITY and soft < least:
        most = "without limit" if hard == resource.RLIM_INFINITY else f"up to {format_count(hard)}"
        return _WRITE.warning(
            name, f"{words}, and many ranks need {format_count(least)} ({most} may be asked)", command
        )
    return _WRITE.ok(name, words)
