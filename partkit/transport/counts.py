"""Counts that one process advances and another waits for: how a program and its ranks tell that slots are ready.

    writer     count = 7 . is the reader asleep? -> ring its bell          one line of shared memory a count:
    reader     count > 6? -> go on                                         [count, asleep, is_last]
               else asleep = 1 . count > 6 still not? -> wait for the bell

A count tells of any number of items at once, and neither side calls the system while the other keeps up. The bell is a
named pipe, which ends for the reader when the last writer is gone, so that neither side waits for a dead one.
"""

from __future__ import annotations

import os
import select
import threading
from pathlib import Path

from partkit.transport.memory import SharedMemory

_WORDS = 8
"""64-bit words of a line: a cache line of its own for each count."""
_COUNT, _ASLEEP, _IS_LAST = range(3)
_LOOK_S = 1.0
"""A sleeper looks by itself this often: what it costs to have missed a bell, should a processor ever show the two
sides each other's words in another order than they were written."""

_barrier = threading.Lock()
"""Taking a lock is a full memory barrier: own writes are seen before what is read next."""


class Counts:
    """``num_counts`` counts in a file's memory, each with a bell beside the file."""

    def __init__(self, path: Path, num_counts: int) -> None:
        self._path = path
        self._words = SharedMemory(path, num_counts * _WORDS * 8).view.cast("q")

    def make_bells(self) -> None:
        """Make the pipes; by whoever made the folder, before anybody opens a writer or a reader."""
        for index in range(len(self._words) // _WORDS):
            os.mkfifo(self._bell(index))

    def writer(self, index: int, *, waits: bool = True) -> CountWriter:
        """The writing end of a count. Blocks until there is a reader, unless ``waits`` is False."""
        # Linux: opened for both, a pipe opens at once, and what is written waits there for its reader.
        return CountWriter(self._line(index), os.open(self._bell(index), os.O_WRONLY if waits else os.O_RDWR))

    def reader(self, index: int, *, waits: bool = True) -> CountReader:
        """The reading end of a count. Blocks until there is a writer, unless ``waits`` is False."""
        return CountReader(self._line(index), os.open(self._bell(index), os.O_RDONLY | (0 if waits else os.O_NONBLOCK)))

    def _line(self, index: int) -> memoryview:
        return self._words[index * _WORDS : (index + 1) * _WORDS]

    def _bell(self, index: int) -> Path:
        return self._path.with_name(f"{self._path.name}-bell-{index}")


class CountWriter:
    """The writing end of a count."""

    def __init__(self, line: memoryview, bell: int) -> None:
        self._line, self._bell = line, bell

    def advance(self, count: int) -> None:
        """Tell that there are ``count`` in all."""
        self._line[_COUNT] = count
        with _barrier:
            is_asleep = self._line[_ASLEEP]
        if is_asleep:
            self._ring()

    def end(self) -> None:
        """Tell that the count is final."""
        self._line[_IS_LAST] = 1
        self._ring()

    def close(self) -> None:
        """Close the bell, so that the reader gets its end."""
        os.close(self._bell)

    def _ring(self) -> None:
        self._line[_ASLEEP] = 0
        os.write(self._bell, b"!")  # a reader that is gone is noticed elsewhere


class CountReader:
    """The reading end of a count."""

    def __init__(self, line: memoryview, bell: int) -> None:
        self._line, self._bell, self._is_alone = line, bell, False

    @property
    def count(self) -> int:
        """What the writer has told last."""
        return int(self._line[_COUNT])

    @property
    def is_last(self) -> bool:
        """True once the count is final, or its writer is gone."""
        return self._is_alone or self._line[_IS_LAST] != 0

    def wait(self, beyond: int, timeout_s: float | None) -> bool:
        """Wait until the count is greater than ``beyond`` or final, at most ``timeout_s`` seconds (None: for ever).

        Returns whether it is greater.
        """
        while self.count <= beyond and not self.is_last:
            self._line[_ASLEEP] = 1
            with _barrier:
                is_there = self.count > beyond or self.is_last
            if not is_there:
                look_s = _LOOK_S if timeout_s is None else timeout_s
                if select.select([self._bell], [], [], look_s)[0]:
                    self._is_alone = not os.read(self._bell, 4096)
                elif timeout_s is not None:
                    self._line[_ASLEEP] = 0
                    break
            self._line[_ASLEEP] = 0
        return self.count > beyond

    def close(self) -> None:
        """Stop listening."""
        os.close(self._bell)
