"""Progress on a terminal's stderr: a tick and the duration of each step that is done, a bar for the one that runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from partkit.data.printable import line
from partkit.data.progress import Progress as Listener
from partkit.data.units import format_count, format_rate, format_seconds

SECONDS_STEP = "Measuring"
"""Steps that begin so count seconds; others count things, of which so many are done in a second."""


@contextmanager
def progress_bars(console: Console | None = None) -> Iterator[Listener]:
    """A listener that draws; lines of finished steps stay on the screen above what follows."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Progress(*columns, console=console or Console(stderr=True), transient=True) as bars:
        steps = _Steps(bars)
        try:
            yield steps
        except BaseException:
            steps.drop()
            raise
        steps.finish()


class _Steps:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._label = ""
        self._task: TaskID | None = None
        self._begin = self._last = 0.0

    def __call__(self, label: str, done: int, total: int, /) -> None:
        if label != self._label:
            self.finish()
            self._label, self._begin = label, time.monotonic()
            self._task = self._bars.add_task(line(label), total=None, counts="", left="")
        assert self._task is not None
        self._bars.update(
            self._task,
            completed=done,
            total=total or None,
            counts=self._counts(done, total),
            left="left" if total and done else "",
        )

    def _counts(self, done: int, total: int) -> str:
        """How much is done of how much, and how fast; nothing where that is not known."""
        if not total:
            return ""
        if self._label.startswith(SECONDS_STEP):
            return f"{done} of {total} s"
        seconds = time.monotonic() - self._begin
        rate = f" · {format_rate(done / seconds)}/s" if done and seconds > 0 else ""
        return f"{format_count(done)} of {format_count(total)}{rate}"

    def finish(self) -> None:
        """Put a tick before the step that ran."""
        if self._task is not None:
            self._bars.console.print(
                f"✓ {line(self._label)}  {format_seconds(time.monotonic() - self._begin)}",
                markup=False,
                highlight=False,
            )
        self.drop()

    def drop(self) -> None:
        """Take the running step off the screen: it did not end."""
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task, self._label = None, ""
