"""Writing files whole or not at all, and telling beforehand where that cannot be."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from partkit.errors import MachineError, UsageError

_YOUNG_S = 10.0
"""A file that was just made may not be locked yet."""


def require_place(path: Path) -> None:
    """Raise where a file could not be written at ``path``, or at what it links to; nothing is made.

    :class:`UsageError` for a folder, a socket, or a folder of the path that is a file; :class:`MachineError` for a
    folder, device or pipe that may not be written to.
    """
    found = _mode_at(path)
    if found is None or stat.S_ISREG(found):
        require_folder((path.resolve() if path.is_symlink() else path).parent, for_path=path)
    elif stat.S_ISDIR(found):
        raise UsageError(f"{path} is a folder, and a file is to be written", hint=f"name one in it, as {path}/out.json")
    elif stat.S_ISSOCK(found):
        raise UsageError(f"{path} is a socket, and a file is to be written", hint="choose another path")
    elif not os.access(path, os.W_OK):
        raise MachineError(
            f"{path} cannot be written: it is a device or a pipe that this user may not write to",
            hint="choose another path, or change its permissions",
        )


def require_file_place(path: Path) -> None:
    """Raise as :func:`require_place` does, and for a device or a pipe: what is written there is not in order."""
    require_place(path)
    found = _mode_at(path)
    if found is not None and not stat.S_ISREG(found):
        raise UsageError(f"{path} is a device or a pipe, and the outputs are not written in order", hint="name a file")


def _mode_at(path: Path) -> int | None:
    """What kind of thing is at a path, behind links; None: nothing yet."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None  # told of its folder
    except OSError as error:  # a name that is too long, links in a circle
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint="choose another path") from None


def require_folder(folder: Path, *, for_path: Path | None = None) -> None:
    """Raise as :func:`require_place` does where no file could be written into ``folder``, which may not exist yet."""
    wanted = for_path or folder
    try:
        nearest = next(place for place in (folder, *folder.parents) if place.exists())
    except OSError as error:
        raise UsageError(f"{wanted} cannot be written: {error.strerror}", hint="choose another path") from None
    if not nearest.is_dir():
        raise UsageError(f"{wanted} cannot be written: {nearest} is a file, no folder", hint="choose another path")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise MachineError(
            f"{wanted} cannot be written: the folder {nearest} may not be written to",
            hint="choose another path, or change its permissions",
        )


def write_text_atomically(path: Path, text: str) -> Path:
    """Write ``text`` to ``path`` through a temporary file in the same folder; parents are made.

    What a link points to is replaced and not the link; a device or a pipe (``/dev/stdout``) is written to as it is.
    An :class:`OSError` names ``path``, not the temporary file.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_text(text, encoding="utf-8")
        else:
            _replace(path.resolve(), text)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    return path


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(text.encode())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file beside ``path`` that takes its name at the end, unless something is raised; then it is gone.

    Who may read it is the umask's say. What earlier processes left beside ``path``, since they were ended outright, is
    removed: each holds a lock on its own while it lives.
    """
    for stale in path.parent.glob(f"{glob.escape(_beside(path))}.{'[0-9a-f]' * 16}.tmp"):
        _remove_if_unlocked(stale)
    temporary = path.with_name(f"{_beside(path)}.{secrets.token_hex(8)}.tmp")
    handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "w+b") as file:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield file
            file.flush()
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _beside(path: Path) -> str:
    return f".{path.name}"[:100]


def _remove_if_unlocked(path: Path) -> None:
    with contextlib.suppress(OSError):  # it is another's, or its process lives
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(handle).st_mtime > _YOUNG_S:
                path.unlink()
        finally:
            os.close(handle)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an :class:`OSError` within, as of a disk that is full, name ``path``, where it names nothing."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
