"""Signals that end a command do so as Ctrl-C does: what it started and made goes first."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from partkit_cli.failure import Interrupted

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CLEARING_S = 15.0
"""Longest that it takes to end ranks and remove folders; another signal meanwhile would only leave some behind."""


@contextmanager
def ending_in_order(*, for_good: bool) -> Iterator[None]:
    """Have SIGINT, SIGTERM and SIGHUP raise :class:`KeyboardInterrupt` in the main thread, once in 15 seconds.

    One that was ignored stays so (``nohup``). ``for_good``: the process ends after this, which no signal shall disturb.
    """
    ending = _Ending()
    before = {number: signal.getsignal(number) for number in _ENDING}
    handled = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, ending.handle)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_IGN if for_good else before[number])


class _Ending:
    def __init__(self) -> None:
        self._told_at: float | None = None

    def handle(self, number: int, _: FrameType | None) -> None:
        """End what runs in the main thread, unless that is under way."""
        now = time.monotonic()
        if self._told_at is not None and now - self._told_at < _CLEARING_S:
            return
        self._told_at = now
        raise KeyboardInterrupt if number == signal.SIGINT else Interrupted(number)
