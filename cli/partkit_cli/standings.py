"""What executors of a comparison have reached so far, in words, before the whole is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from partkit.data.units import format_rate, format_seconds

if TYPE_CHECKING:
    from partkit.data.result import Row


def told_row(row: Row) -> str:
    """One executor: its rate and latency, or why it takes no part."""
    if row.samples_per_s is None:
        return f"{row.executor} {row.status}: {row.reason or 'no reason told'}"
    latency = "" if row.latency_p50_s is None else f", latency {format_seconds(row.latency_p50_s)}"
    invalid = "" if row.status == "ok" else f" ({row.status}: {row.reason})"
    return f"{row.executor}: {format_rate(row.samples_per_s)} samples/s so far{latency}{invalid}"


class RoundLines:
    """Rows as lines for where nothing can be drawn: who takes no part at once, then one line for each round but the
    last, whose figures the whole tells."""

    def __init__(self) -> None:
        self._rates: dict[str, str] = {}
        self._round = 1

    def after(self, row: Row, number: int, rounds: int) -> list[str]:
        """What is to be said after an executor's turn in round ``number`` (0: it takes no part)."""
        said = []
        if number > self._round:
            said = [f"round {self._round} of {rounds}: {', '.join(self._rates.values())} samples/s so far"]
            self._round = number
        if row.samples_per_s is None:
            self._rates.pop(row.executor, None)
            return [*said, told_row(row)]
        self._rates[row.executor] = f"{row.executor} {format_rate(row.samples_per_s)}"
        return said
