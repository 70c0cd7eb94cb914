"""Signs of life of a rank: twice a second it writes where it is and how many turns it took, for its parent to read.

A thread of the rank looks at the others' frames, so that what a rank computes costs nothing more and a rank that hangs
still tells where. One that tells nothing is stopped, or stuck in code that never lets go of Python's lock.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Literal

from pydantic import Field, ValidationError

from partkit.data.document import Record
from partkit.stages.fault import node_at

BEAT_S = 0.5
_WAITING = ("partkit.transport.", "partkit.ranks.mailbox", "partkit.ranks.pipes", "torch.distributed.")
"""Modules in which a rank waits for other ranks, or for orders."""
_ON_DEVICE = ("partkit.executors.pipeline.clocks", "partkit.machine.clock", "torch.cuda.")
"""Modules in which a rank's host waits for its device."""
_POOLS = ("threading", "concurrent.futures")
"""Modules in which a thread waits for others of its process."""

Doing = Literal["waits", "awaits its device", "works"]


class Pulse(Record):
    """Where a rank was when it last gave a sign of life."""

    at: float
    """``time.time()``."""
    doing: Doing
    where: str
    """The function, with its file and line."""
    node: str | None = None
    """The graph node that it computed, where it computed one."""
    turns: dict[int, int] = Field(default_factory=dict)
    """Turns that each of its stages had taken in the run."""

    @property
    def place(self) -> str:
        """Where it was, in words."""
        return f"node {self.node}" if self.node is not None else self.where


class Heart:
    """The thread that writes a rank's pulse; it ends with the process."""

    def __init__(self, path: Path, turns: Callable[[], Mapping[int, int]]) -> None:
        self._path, self._turns = path, turns
        self._watched = threading.main_thread().ident
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    def _beat(self) -> None:
        temporary = self._path.with_suffix(".new")
        while True:
            time.sleep(BEAT_S)
            try:
                temporary.write_text(self._look().model_dump_json(), encoding="utf-8")
                temporary.replace(self._path)
            except OSError:  # no room, or the parent has removed the folder: nobody reads it
                return

    def _look(self) -> Pulse:
        frames = sys._current_frames()  # what faulthandler and py-spy read too
        frames.pop(threading.get_ident(), None)
        main = frames.pop(self._watched or 0, None)
        assert main is not None, "the main thread runs as long as the process"
        frame = _telling(main, list(frames.values()))
        code = frame.f_code
        where = f"{code.co_qualname} ({Path(code.co_filename).name}:{frame.f_lineno})"
        return Pulse(at=time.time(), doing=doing_at(frame), where=where, node=node_at(frame), turns=dict(self._turns()))


def _telling(main: FrameType, others: Sequence[FrameType]) -> FrameType:
    """Of the threads the one that tells most: where several stages have one each, the main thread waits for all."""
    computing = [frame for frame in others if node_at(frame) is not None]
    waiting = [frame for frame in others if doing_at(frame) == "waits"]
    if not main.f_globals.get("__name__", "").startswith(_POOLS):
        return main
    return next(iter([*computing, *waiting]), main)


def pulse_path(log_dir: Path, rank: int) -> Path:
    """Where a rank's pulse is."""
    return log_dir / f"pulse-{rank}.json"


def read_pulse(log_dir: Path, rank: int) -> Pulse | None:
    """A rank's last sign of life; None before the first."""
    try:
        return Pulse.model_validate(json.loads(pulse_path(log_dir, rank).read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        return None


def doing_at(frame: FrameType) -> Doing:
    """What a thread does whose innermost frame this is."""
    module = frame.f_globals.get("__name__", "")
    if module.startswith(_WAITING):
        return "waits"
    return "awaits its device" if module.startswith(_ON_DEVICE) else "works"
