"""Single bytes through named pipes: how a program and its ranks signal that a slot is ready, without polling.

The pipe ends for the reader when the last writer is gone, so that neither side waits for a dead one.
"""

from __future__ import annotations

import os
import select
from pathlib import Path

ITEM = b"+"
END = b"."


class TokenWriter:
    """The writing end. Opening it blocks until there is a reader, unless ``waits`` is False."""

    def __init__(self, path: Path, *, waits: bool = True) -> None:
        # Linux: opened for both, a pipe opens at once, and what is written waits there for its reader.
        self._file = os.open(path, os.O_WRONLY if waits else os.O_RDWR)

    def put(self, token: bytes) -> None:
        """Write one token; a reader that is gone is noticed elsewhere."""
        os.write(self._file, token)

    def close(self) -> None:
        """Close the pipe, so that the reader gets its end."""
        os.close(self._file)


class TokenReader:
    """The reading end."""

    def __init__(self, path: Path, *, waits: bool = True) -> None:
        self._file = os.open(path, os.O_RDONLY | (0 if waits else os.O_NONBLOCK))

    def take(self, most: int, *, timeout_s: float | None) -> bytes:
        """Up to ``most`` tokens; waits for the first at most ``timeout_s`` seconds (None: for ever).

        Nothing after the time; :data:`END` once every writer is gone.
        """
        ready, _, _ = select.select([self._file], [], [], timeout_s)
        return (os.read(self._file, most) or END) if ready else b""

    def close(self) -> None:
        """Stop listening."""
        os.close(self._file)
