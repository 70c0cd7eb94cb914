"""The standard streams as the shell left them: closed ones (``>&-``) are opened, lost ones are let go."""

from __future__ import annotations

import os
import sys
from typing import TextIO

_NAMES = ("stdin", "stdout", "stderr")


def open_closed_streams() -> frozenset[str]:
    """Open the null device in place of each standard stream that is closed; returns their names.

    Python sets such a stream to None, which ``print`` silently takes for standard output, and the next file or
    socket that is opened gets the stream's number: whatever a library prints would land in it.
    """
    closed = frozenset(name for name in _NAMES if getattr(sys, name) is None)
    for number, name in enumerate(_NAMES):
        if name not in closed:
            continue
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number, inheritable=True)
            os.close(null)
        os.set_inheritable(number, True)
        setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115
    return closed


def columns_of(stream: TextIO) -> int | None:
    """Columns of the terminal that a stream goes to; None where it goes elsewhere, or nobody knows."""
    if not stream.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except OSError:
        return None


def is_coloured(stream: TextIO) -> bool:
    """True for a terminal that shows colours and whose user did not ask for none (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def let_go(stream: TextIO) -> None:
    """Send what a stream still holds, and what comes, nowhere: Python flushes at exit and would complain there."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
