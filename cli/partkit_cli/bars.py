"""Progress on a terminal's stderr: a tick and the duration of each step that is done, a bar for the one that runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from partkit.data.printable import line
from partkit.data.progress import BYTES_STEP, SECONDS_STEPS, step_of
from partkit.data.result import Row
from partkit.data.units import format_bytes, format_count, format_rate, format_seconds
from partkit.data.wrap import wrapped
from partkit_cli.standings import told_row

_WITH_BAR = 90
"""Columns from which on a bar is drawn."""
_SPINNER = 2
_LEAST_NAME = 14


@contextmanager
def progress_bars(console: Console | None = None) -> Iterator[Steps]:
    """A listener that draws; lines of finished steps stay on the screen above what follows."""
    shown = console or Console(stderr=True)
    with _Bars(*_columns(shown.width), console=shown, transient=True) as bars:
        steps = Steps(bars)
        try:
            yield steps
        except BaseException:
            steps.drop()
            raise
        steps.finish()


def _columns(width: int) -> list[ProgressColumn]:
    """A bar with all that is known; on a narrow terminal a line of words."""
    if width < _WITH_BAR:
        return [SpinnerColumn(), _Words(width - _SPINNER)]
    return [
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TimeRemainingColumn(elapsed_when_finished=False),
    ]


class _Words(ProgressColumn):
    """The step, how far it is and how long it will take, in so many columns: of a long name the end is left out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._width = width

    def render(self, task: Task) -> Text:
        """The line."""
        far = str(task.fields["counts"])
        seconds = task.time_remaining if task.fields["left"] else None
        if seconds is not None:
            with_time = f"{far}, {timedelta(seconds=int(seconds))} left"
            far = with_time if len(with_time) + _LEAST_NAME < self._width else far
        room = self._width - len(far) - 1
        name = task.description if len(task.description) <= room else f"{task.description[: max(room - 1, 0)]}…"
        return Text(f"{name} {far}".rstrip(), no_wrap=True)


class _Bars(Progress):
    """Bars with lines above them that change."""

    lines: tuple[str, ...] = ()

    def get_renderables(self) -> Iterable[RenderableType]:
        """Lines, then bars."""
        yield from (Text(each) for each in self.lines)
        yield self.make_tasks_table(self.tasks)


class Steps:
    """Draws what a listener is told."""

    def __init__(self, bars: _Bars) -> None:
        self._bars = bars
        self._step = ""
        self._task: TaskID | None = None
        self._begin = self._last = 0.0
        self._rows: dict[str, str] = {}

    def __call__(self, label: str, done: int, total: int, /) -> None:
        """See :data:`partkit.data.progress.Progress`."""
        step, _ = step_of(label)
        if step != self._step:
            self.finish()
            self._step, self._begin = step, time.monotonic()
            self._task = self._bars.add_task(line(label), total=None, counts="", left="")
        assert self._task is not None
        self._bars.update(
            self._task,
            description=line(label),
            completed=done,
            total=total or None,
            counts=self._counts(done, total),
            left="left" if total and done else "",
        )

    def row(self, row: Row, number: int, rounds: int) -> None:
        """Show what an executor of a comparison has reached so far, until the whole is told."""
        del number, rounds  # the bar tells them
        self._rows[row.executor] = wrapped(told_row(row), self._bars.console.width, indent="  ")
        self._bars.lines = tuple(self._rows.values())

    def _counts(self, done: int, total: int) -> str:
        """How much is done of how much, and how fast; nothing where that is not known."""
        if not total:
            return ""
        if self._step.startswith(SECONDS_STEPS):
            return f"{done} of {total} s"
        tell = format_bytes if self._step == BYTES_STEP else format_count
        seconds = time.monotonic() - self._begin
        rate = format_bytes if self._step == BYTES_STEP else format_rate
        is_fast = self._bars.console.width >= _WITH_BAR and done and seconds > 0
        speed = f" · {rate(done / seconds)}/s" if is_fast else ""
        return f"{tell(done)} of {tell(total)}{speed}"

    def finish(self) -> None:
        """Put a tick before the step that ran."""
        if self._task is not None:
            told = f"✓ {line(self._step)}  {format_seconds(time.monotonic() - self._begin)}"
            self._bars.console.print(told, markup=False, highlight=False)
        self.drop()

    def drop(self) -> None:
        """Take the running step off the screen: it did not end."""
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task, self._step = None, ""
