"""The progress callback that long work reports to."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

Progress = Callable[[str, int, int], None]
"""Called with a step's label, how much of it is done and how much there is in all (0: that is not known).

Another label says that the step before has ended. What follows :data:`WITH` in a label says which part of the step is
under way, and begins no new one.
"""

WITH = " · "
BYTES_STEP = "Loading stages"
"""Steps that begin so count bytes."""
SECONDS_STEPS = ("Measuring", "Warming up")
"""Steps that begin so count seconds; others count things."""


def step_of(label: str) -> tuple[str, str]:
    """A label's step, and the part of it that is under way.

    >>> step_of("Loading executors · fsdp"), step_of("Checking outputs")
    (('Loading executors', 'fsdp'), ('Checking outputs', ''))
    """
    step, _, part = label.partition(WITH)
    return step, part


_WRITE_EVERY_S = 0.1


def silent(_label: str, _done: int, _total: int) -> None:
    """Tell nobody."""


class ProgressFile:
    """Progress of one process that another one reads: two numbers in a file."""

    def __init__(self, path: Path) -> None:
        self._path, self._written_at = path, 0.0

    def write(self, done: int, total: int) -> None:
        """Tell how far it is; ten times a second at most reach the file."""
        now = time.monotonic()
        if now - self._written_at >= _WRITE_EVERY_S:
            self._written_at = now
            self._path.write_text(f"{done} {total} ", encoding="ascii")

    def read(self) -> tuple[int, int] | None:
        """What was told last; None before that, or while it is written."""
        try:
            done, total, _ = self._path.read_text(encoding="ascii").split(" ")
        except (OSError, ValueError):
            return None
        return int(done), int(total)
