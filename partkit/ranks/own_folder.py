"""Where ranks may write: new files in a run's own folder, whatever an order says."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from partkit.errors import RankFailedError

FOLDER_PREFIX = "partkit-"
"""How the names of the folders begin that a parent makes for a run."""


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
