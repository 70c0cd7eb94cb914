"""Writing files whole or not at all, and telling beforehand where that cannot be."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from partkit.errors import MachineError, UsageError


def require_place(path: Path) -> None:
    """Raise where a file could not be written at ``path``; nothing is made.

    :class:`UsageError` for a folder, or a folder of the path that is a file; :class:`MachineError` for a folder that
    may not be written to.
    """
    try:
        is_folder = path.is_dir()
    except OSError as error:  # a name that is too long
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint="choose another path") from None
    if is_folder:
        raise UsageError(f"{path} is a folder, and a file is to be written", hint=f"name one in it, as {path}/out.json")
    require_folder(path.parent, for_path=path)


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
    handle, temporary = open_beside(path)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def open_beside(path: Path) -> tuple[int, Path]:
    """A new file that will be renamed to ``path``: its descriptor and its name; who may read it is the umask's say."""
    temporary = path.with_name(f"{f'.{path.name}'[:100]}.{secrets.token_hex(8)}.tmp")
    return os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), temporary
