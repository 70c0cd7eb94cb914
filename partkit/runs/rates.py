"""Combine ranks' reports of a run into samples/s and latencies."""

from __future__ import annotations

from collections.abc import Sequence

from partkit.data.job import RunJob
from partkit.data.replies import ItemsRun


def overall_rate(runs: Sequence[ItemsRun], job: RunJob) -> tuple[float, float]:
    """Samples/s from the first rank's start to the last one's end, and in steady state."""
    batch = job.fed.batch
    window = max(run.end for run in runs) - min(run.begin for run in runs)
    finished = sum(run.num_finished for run in runs)
    rates = [run.steady_per_s for run in runs if run.num_finished]
    overall = finished * batch / window
    known = [rate for rate in rates if rate is not None]
    return overall, sum(known) * batch if len(known) == len(rates) else overall


def latencies(runs: Sequence[ItemsRun]) -> list[float]:
    """Seconds from entry to output of items that ran one at a time."""
    if all(run.entered_at and run.finished_at for run in runs):  # every rank runs whole items of its own
        return [end - begin for run in runs for begin, end in _times(run.entered_at, run.finished_at)]
    entered = [pair for run in runs for pair in run.entered_at]
    finished = [pair for run in runs for pair in run.finished_at]
    return [end - begin for begin, end in _times(entered, finished)]


def _times(entered: Sequence[tuple[int, float]], finished: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """First entry and last end of each item; an item may enter at several stages."""
    begin = dict(sorted(entered, key=lambda pair: pair[1], reverse=True))
    end = dict(sorted(finished, key=lambda pair: pair[1]))
    return [(begin[item], end[item]) for item in end]
