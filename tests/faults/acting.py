"""A model of which one operation does what a file tells it to: the fault of one rank, at a node that is known.

``py:tests.faults.acting:make`` has ``act`` first in its second half. Where there is a file ``$PARTKIT_TEST_ACT``,
that does what the file says, once; ``every time`` in it is for a device that is lost for good: whoever computes the
operation beside others is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

VARIABLE = "PARTKIT_TEST_ACT"
NO_SUCH_BYTES = 1 << 50


def _hang() -> None:
    while True:
        time.sleep(0.01)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _raise() -> None:
    raise ValueError("the weather is bad")


def _allocate() -> None:
    torch.empty(NO_SUCH_BYTES, dtype=torch.uint8)


def _list() -> None:
    _ = bytearray(NO_SUCH_BYTES)


ACTIONS: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "hang": _hang,
    "stop": _stop,
    "raise": _raise,
    "_exit": lambda: os._exit(3),
    "_exit 0": lambda: os._exit(0),
    "SystemExit": lambda: sys.exit("enough"),
    "interrupt": lambda: os.kill(os.getpid(), signal.SIGINT),
    "terminate": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "abort": os.abort,
    "allocate": _allocate,
    "bytearray": _list,
}


@torch.library.custom_op("partkit_faults::act", mutates_args=())
def act(x: torch.Tensor) -> torch.Tensor:
    if x.is_cuda:
        x.sum().item()  # waits for the device, so that no CUDA graph can hold this operation
    told = Path(os.environ.get(VARIABLE, "/nonexistent"))
    action = told.read_text() if told.exists() else ""
    if action:  # else the test is about to write it
        if action == "every time":
            action = "kill" if int(os.environ["WORLD_SIZE"]) > 1 else "nothing"
        else:
            told.unlink()
        ACTIONS[action]()
    return x.clone()


@act.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class Acting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.last = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        done: torch.Tensor = self.last(torch.ops.partkit_faults.act(self.first(x)))
        return done


def make() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    return Acting().eval(), (torch.ones(2, 4),)
