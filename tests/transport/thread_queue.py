"""A stream on the CPU: a thread that does what it is given, in order, now and then late."""

from __future__ import annotations

import ctypes
import queue
import random
import threading
import time
from collections.abc import Callable


class Happening:
    """An event, or the end of what a thread was given."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def happen(self) -> None:
        self._event.set()

    def wait(self) -> None:
        assert self._event.wait(20), "the protocol is stuck"


class ThreadQueue:
    """A stream: a thread that does what it is given, in order, now and then late."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def follow(self, event: Happening | None) -> None:
        if event is not None:
            self._work.put(event.wait)

    def take(self, flag: int) -> None:
        self._work.put(lambda: self._take(flag))

    def give(self, flag: int) -> None:
        self._work.put(lambda: self._give(flag))

    def copy(self, target: int, source: int, num_bytes: int) -> None:
        self._work.put(lambda: ctypes.memmove(target, source, num_bytes))

    def done(self, slot: int) -> Happening:
        end = Happening()
        self._work.put(end.happen)
        return end

    def _run(self) -> None:
        while True:
            work = self._work.get()
            if self._draw.random() < 0.2:
                time.sleep(self._draw.random() * 1e-3)
            work()

    def _take(self, flag: int) -> None:
        word, end = ctypes.c_uint32.from_address(flag), time.monotonic() + 20
        while word.value != 1:
            assert time.monotonic() < end, "a flag was never given"
            time.sleep(1e-5)
        word.value = 0

    def _give(self, flag: int) -> None:
        word = ctypes.c_uint32.from_address(flag)
        assert word.value == 0, "a flag was given twice before it was taken"
        word.value = 1
