"""Folders that partkit writes in: temporary files, the cache, shared memory, plans."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from partkit.data.cache import cache_folder
from partkit.data.examination import Check
from partkit.data.units import format_bytes
from partkit.ranks.own_folder import SHARED_MEMORY
from partkit.runs.doctor.looked_at import LookedAt, Writer

_TRIED_BYTES = 1 << 20
_LITTLE_BYTES = 256 << 20
"""Less free room than this is told: logs, own items and archives of modules go into these folders."""
_SHARED_BYTES = 1 << 30
"""Values between ranks and a program's own items go through shared memory; Docker gives 64 MiB of it."""

_WRITE = Writer("folders")


def folders(seen: LookedAt) -> Iterator[Check]:
    """Write a file in each and remove it."""
    temporary = temporary_folder()
    seen.is_broken |= temporary.status == "broken"
    yield temporary
    yield _cache()
    yield _shared_memory()
    fault = write_fault(Path.cwd())
    if fault is None:
        yield _WRITE.ok("current folder", f"{Path.cwd()}")
    else:
        yield _WRITE.warning(
            "current folder", f"{Path.cwd()} cannot be written: {fault}", "write plans elsewhere with -o"
        )


def temporary_folder() -> Check:
    """Where runs make their own folders: no rank starts without it."""
    name, advice = "temporary folder", "set TMPDIR to a folder that this user may write to, with some room"
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        return _WRITE.broken(name, error.strerror or str(error), advice)
    fault = write_fault(folder)
    if fault is not None:
        return _WRITE.broken(name, f"{folder} cannot be written: {fault}", advice)
    asked = os.environ.get("TMPDIR")
    if asked is not None and Path(asked).absolute() != folder.absolute():
        why = write_fault(Path(asked)) or "it was tried and failed"
        return _WRITE.warning(name, f"TMPDIR={asked} cannot be written ({why}), and {folder} is used instead", advice)
    return _roomy(name, folder, _LITTLE_BYTES, advice)


def _cache() -> Check:
    name, advice = "cache", "set XDG_CACHE_HOME to a folder that this user may write to"
    try:
        folder = cache_folder()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        return _WRITE.warning(name, f"nothing is kept for later commands: {error}", advice)
    fault = write_fault(folder)
    if fault is not None:
        return _WRITE.warning(name, f"nothing is kept for later commands: {folder} cannot be written: {fault}", advice)
    return _roomy(name, folder, _LITTLE_BYTES, advice)


def _shared_memory() -> Check:
    """Copies between GPUs, NCCL and a program's own items need it."""
    name = "shared memory"
    advice = "give the container more: --shm-size=8g, or --ipc=host"
    if not SHARED_MEMORY.is_dir():
        return _WRITE.warning(name, f"there is no {SHARED_MEMORY}: temporary files take its place, more slowly", advice)
    fault = write_fault(SHARED_MEMORY)
    if fault is not None:
        return _WRITE.broken(name, f"{SHARED_MEMORY} cannot be written: {fault}", advice)
    return _roomy(name, SHARED_MEMORY, _SHARED_BYTES, advice)


def _roomy(name: str, folder: Path, least_bytes: int, advice: str) -> Check:
    usage = shutil.disk_usage(folder)
    finding = f"{folder}, {format_bytes(usage.free)} free of {format_bytes(usage.total)}"
    if usage.free < least_bytes:
        return _WRITE.warning(name, f"{finding}: little room", advice)
    return _WRITE.ok(name, finding)


def write_fault(folder: Path) -> str | None:
    """Why no file of a mebibyte can be written into a folder; None where one can: it is made and removed."""
    try:
        with tempfile.NamedTemporaryFile(prefix="partkit-doctor-", dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, _TRIED_BYTES)
    except OSError as error:
        return error.strerror or type(error).__name__
    return None
