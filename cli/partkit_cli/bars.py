"""Progress bars on stderr: one for each label that long work reports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from partkit.data.printable import line
from partkit.data.progress import Progress as Listener


@contextmanager
def progress_bars(console: Console | None = None) -> Iterator[Listener]:
    """A listener that draws; finished bars stay on the screen above what follows."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console or Console(stderr=True)) as bars:
        yield _Bars(bars)


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task_by_label: dict[str, TaskID] = {}

    def __call__(self, label: str, done: int, total: int, /) -> None:
        if label not in self._task_by_label:
            self._task_by_label[label] = self._bars.add_task(line(label), total=total or None)
        self._bars.update(self._task_by_label[label], completed=done, total=total or None)
