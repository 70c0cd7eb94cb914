"""Which of the ranks that ended is the first cause: the others only lost it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from partkit.errors import PartkitError, RankFailedError
from partkit.ranks.failure import Failure, error_of


@dataclass(frozen=True)
class Ended:
    """A rank that ended though it was not asked to."""

    rank: int
    code: int
    """Its exit code; minus the signal's number where a signal ended it."""
    at: float
    """``time.time()`` of when that was seen."""
    activity: str
    """What it was doing, to be put behind what became of it."""
    last_seen: str
    """Where it gave its last sign of life, to be put behind that."""
    last_words: str
    """The last line of its log."""


def has_cause(ended: Sequence[Ended], told: Sequence[Failure]) -> bool:
    """Whether more is known than that ranks lost others."""
    return bool(_without_word(ended, told)) or any(not failure.is_consequence for failure in told)


def first_cause(
    ended: Sequence[Ended], told: Sequence[Failure], name_of: Callable[[int], str], *, hint: str
) -> PartkitError:
    """The error of the rank that ended first: of those that left word, and of those that could not.

    A rank whose word is that it lost another is no cause, however early it says so. ``name_of`` tells a rank's number,
    stages and device in words.
    """
    silent = _without_word(ended, told)
    causes = [failure for failure in told if not failure.is_consequence] or ([] if silent else list(told))
    first_told = min(causes, key=lambda failure: failure.at, default=None)
    first_silent = min(silent, key=lambda rank: rank.at, default=None)
    if first_silent is not None and (first_told is None or first_silent.at <= first_told.at):
        return _death_of(first_silent, name_of(first_silent.rank), hint)
    assert first_told is not None, "some rank has ended"
    return error_of(first_told, name_of(first_told.rank), hint)


def _without_word(ended: Sequence[Ended], told: Sequence[Failure]) -> list[Ended]:
    tellers = {failure.rank for failure in told}
    return [rank for rank in ended if rank.rank not in tellers]


def _death_of(rank: Ended, name: str, hint: str) -> RankFailedError:
    if rank.code < 0:
        known = "; where memory ran out, 'dmesg' says so" if rank.code == -signal.SIGKILL else ""
        told = f"{name} was ended by {_signal_name(-rank.code)}{rank.activity}{rank.last_seen}"
        return RankFailedError(told, hint=f"{hint}{known}", rank=rank.rank)
    told = f"{name} ended with exit code {rank.code}{rank.activity}{rank.last_seen}"
    return RankFailedError(f"{told}: {rank.last_words}", hint=hint, rank=rank.rank)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of those without a name
        return f"signal {number}"
