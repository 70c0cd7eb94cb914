"""Private folders of a run: they go with the process that made them, or are swept by the next one.

A process holds a lock on each of its folders while it lives. Where it was ended outright its folders stay, unlocked,
and the next process that makes one removes them. Ranks write new files in such folders alone, whatever an order says.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from partkit.errors import RankFailedError

FOLDER_PREFIX = "partkit-"
"""How the names of the folders begin that a parent makes for a run."""
_HELD_PREFIX = f"{FOLDER_PREFIX}run-"
"""Those of a :class:`OwnFolder`: whoever makes another may look whether its process still lives."""
_KEPT = "kept"
"""A file in folders whose logs an error refers to."""
_KEPT_S = 7 * 86_400
SHARED_MEMORY = Path("/dev/shm")


class OwnFolder:
    """A new folder that only this user may enter; it holds a lock until it is removed, kept or the process ends."""

    def __init__(self, base: Path | None = None) -> None:
        """``base``: the folder to make it in; None: where temporary files go."""
        _sweep_once(os.getpid())
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=_HELD_PREFIX, dir=base))
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            with contextlib.suppress(OSError):  # a file system without locks: such folders are never swept
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            if self.path.exists():  # nobody swept it before it was locked
                return
            os.close(self._lock)

    def remove(self) -> None:
        """Remove the folder and what it holds; safe to call twice."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._unlock()

    def keep(self) -> None:
        """Leave the folder for people to read; it is swept a week later."""
        with contextlib.suppress(OSError):
            (self.path / _KEPT).touch()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


@contextlib.contextmanager
def own_folder(base: Path | None = None) -> Iterator[Path]:
    """A private folder for as long as the context lasts."""
    folder = OwnFolder(base)
    try:
        yield folder.path
    finally:
        folder.remove()


def sweep(base: Path) -> list[Path]:
    """Remove the folders in ``base`` of this user's processes that have ended; returns them."""
    return [path for path in sorted(base.glob(f"{_HELD_PREFIX}*")) if _remove_if_stale(path)]


@functools.cache
def _sweep_once(pid: int) -> None:
    """Once in a process; a forked copy of it is another."""
    del pid
    for base in {Path(tempfile.gettempdir()), SHARED_MEMORY}:
        with contextlib.suppress(OSError):  # somebody else sweeps, or nobody may look there
            sweep(base)


def _remove_if_stale(path: Path) -> bool:
    try:
        if path.lstat().st_uid != os.geteuid():
            return False
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_kept = (path / _KEPT).exists() and time.time() - (path / _KEPT).stat().st_mtime < _KEPT_S
        if not is_kept:
            shutil.rmtree(path, ignore_errors=True)
        return not is_kept
    except OSError:  # its process lives
        return False
    finally:
        os.close(lock)


def require_own_folder(folder: Path) -> Path:
    """``folder``, or :class:`RankFailedError` where it is not one that a run of this user made for itself alone."""
    try:
        found = folder.lstat()
    except OSError as error:
        raise RankFailedError(f"an order names the folder {folder}, which cannot be used: {error.strerror}") from None
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    if not is_own or not folder.name.startswith(FOLDER_PREFIX):
        raise RankFailedError(f"an order names {folder}, which is not a folder of this run's own")
    return folder


def require_new_file(path: Path) -> Path:
    """``path``, or :class:`RankFailedError` where something is there or the folder is not this run's own."""
    require_own_folder(path.parent)
    if os.path.lexists(path):
        raise RankFailedError(f"an order would overwrite {path}")
    return path
