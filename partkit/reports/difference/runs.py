"""What became of a run."""

from __future__ import annotations

from partkit.data.result import RunResult
from partkit.data.units import format_rate, format_ratio, format_seconds
from partkit.reports.difference.told import Told, said
from partkit.reports.difference.walk import changes_between

_SAID = ("warnings", "notes")
_CLOSE = 0.03
"""Share within which two runs of the same plan may differ by chance."""


def tell(before: RunResult, after: RunResult, names: tuple[str, str]) -> Told:
    """The steady rate and the latency, then what else was measured."""
    changes = tuple(changes_between(before.to_data(), after.to_data(), "", skip=("environment", *_SAID)))
    rates = before.steady_samples_per_s, after.steady_samples_per_s
    text = f"{format_rate(rates[1])} samples/s in steady state instead of {format_rate(rates[0])}"
    text += f" ({format_ratio(*rates)})" if min(rates) > 0 else ""
    latencies = [format_seconds(each.latency_s.p50) for each in (before, after)]
    text += f"; median latency {latencies[1]}{f' instead of {latencies[0]}' if latencies[0] != latencies[1] else ''}."
    notes = [] if after.check.passed == before.check.passed else [_checks(before, after)]
    notes += said(before, after, _SAID, names)
    if changes and min(rates) > 0 and abs(rates[1] / rates[0] - 1) < _CLOSE:
        notes.append(
            f"a difference of less than {100 * _CLOSE:.0f}% between two runs may be chance: compare measures in turns"
        )
    return Told(text, changes, notes=tuple(notes))


def _checks(before: RunResult, after: RunResult) -> str:
    words = {
        True: "agreed with the unsplit model's",
        False: "DIFFERED from the unsplit model's",
        None: "were not checked",
    }
    return f"outputs {words[after.check.passed]} and {words[before.check.passed]} before"
