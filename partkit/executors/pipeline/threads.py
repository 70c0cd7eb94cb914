"""Places of one rank that wait for each other, each in a thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait


def run_side_by_side(calls: Sequence[Callable[[], None]]) -> None:
    """Make every call in a thread of its own; the first fault is raised at once.

    The other threads may then wait for the one that failed, for ever: they are left alone and end with the rank.
    """
    threads = ThreadPoolExecutor(len(calls))
    done, _ = wait([threads.submit(call) for call in calls], return_when=FIRST_EXCEPTION)
    for future in done:
        future.result()
    threads.shutdown()
