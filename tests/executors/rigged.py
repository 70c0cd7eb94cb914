"""Executors with one fault each; a comparison finds them as ``tests.executors.rigged:NAME``."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Container, Sequence

import torch

from partkit.errors import UnsupportedError
from partkit.executors.protocol import Trace
from partkit.executors.whole.single import SingleExecutor

SLEEP_S = 0.2


class GivesWrongOutputs(SingleExecutor):
    def run(self, items: Sequence[int], *, keep: Container[int], one_at_a_time: bool) -> Trace:
        trace = super().run(items, keep=keep, one_at_a_time=one_at_a_time)
        for leaves in trace.outputs.values():
            leaves[0] = None if leaves[0] is None else leaves[0] + 1
        return trace


class Sleeps(SingleExecutor):
    def forward(self, item: int) -> object:
        time.sleep(SLEEP_S)
        return super().forward(item)


class CrashesLater(SingleExecutor):
    """Dies outright in its third run: the outputs were checked by then."""

    num_runs = 0

    def run(self, items: Sequence[int], *, keep: Container[int], one_at_a_time: bool) -> Trace:
        self.num_runs += 1
        if self.num_runs == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(items, keep=keep, one_at_a_time=one_at_a_time)


class Hangs(SingleExecutor):
    def run(self, items: Sequence[int], *, keep: Container[int], one_at_a_time: bool) -> Trace:
        threading.Event().wait()
        return super().run(items, keep=keep, one_at_a_time=one_at_a_time)


class TakesAllMemory(SingleExecutor):
    """What it loads fills the device: no other of its kind can load until it has gone."""

    def load(self) -> None:
        self.memory = open(os.environ["PARTKIT_TEST_MEMORY"], "w")  # noqa: PTH123, SIM115 - held till the process ends
        try:
            fcntl.flock(self.memory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80 GiB.") from None
        super().load()


class TakesAllMemoryToo(TakesAllMemory):
    pass


class NeverFits(SingleExecutor):
    def load(self) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 81 GiB.")


class Refuses(SingleExecutor):
    def load(self) -> None:
        raise UnsupportedError(f"it cannot run with torch {torch.__version__.partition('.')[0]}")
