"""What a parent and its ranks tell each other on one host: named pipes in a folder that only their user may enter.

Nothing listens, so nobody else can connect: who may read or write here is for the folder's permissions (0700) to say.
Each line is a key and its value; a parent's go to every rank, a rank's to its parent.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import time
import weakref
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Self

_CHUNK_BYTES = 1 << 16
_PIPE_BYTES = 1 << 20


class Pipes:
    """Values by key, one way to be heard and one to be told, with as much of a torch store's interface as is used."""

    def __init__(self, reading: Sequence[Path], writing: Sequence[Path]) -> None:
        # Both ways, so that neither end waits for the other to open, and none hears an end when the other has gone.
        self._reading = [os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK) for path in reading]
        self._writing = [os.open(path, os.O_RDWR | os.O_CLOEXEC) for path in writing]
        self._unread = dict.fromkeys(self._reading, b"")
        self._value_by_key: dict[str, bytes] = {}
        weakref.finalize(self, _close, [*self._reading, *self._writing])

    @classmethod
    def of_parent(cls, folder: Path, num_ranks: int) -> Self:
        """Make the pipes to and from ranks that are yet to start."""
        names = [(folder / f"orders-{rank}", folder / f"replies-{rank}") for rank in range(num_ranks)]
        for pair in names:
            for path in pair:
                os.mkfifo(path, 0o600)
        pipes = cls([replies for _, replies in names], [orders for orders, _ in names])
        with contextlib.suppress(PermissionError):  # the system's limit is lower: long replies come in more parts
            for pipe in pipes._reading:
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        return pipes

    @classmethod
    def of_rank(cls, folder: Path, rank: int) -> Self:
        """Open the pipes that the parent has made."""
        return cls([folder / f"orders-{rank}"], [folder / f"replies-{rank}"])

    def set(self, key: str, value: str) -> None:
        """Tell the other side."""
        line = json.dumps([key, value]).encode() + b"\n"
        for pipe in self._writing:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(pipe, rest) :]

    def check(self, keys: Sequence[str]) -> bool:
        """True where the other side has told all of them."""
        self._read(timeout_s=0)
        return all(key in self._value_by_key for key in keys)

    def wait(self, keys: Sequence[str], timeout: timedelta) -> None:
        """Block until the other side has told all of them. Raises :class:`TimeoutError`."""
        deadline = time.monotonic() + timeout.total_seconds()
        while not self.check(keys):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"{', '.join(keys)} not told within {timeout}")
            self._read(timeout_s=left_s)

    def get(self, key: str) -> bytes:
        """What the other side has told last of a key."""
        return self._value_by_key[key]

    def _read(self, *, timeout_s: float) -> None:
        while ready := select.select(self._reading, [], [], timeout_s)[0]:
            timeout_s = 0
            for pipe in ready:
                *lines, self._unread[pipe] = (self._unread[pipe] + os.read(pipe, _CHUNK_BYTES)).split(b"\n")
                for line in lines:
                    key, value = json.loads(line)
                    self._value_by_key[key] = value.encode()


def _close(pipes: Sequence[int]) -> None:
    for pipe in pipes:
        os.close(pipe)
