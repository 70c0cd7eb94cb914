"""Where in a stage an error was raised, or a thread is."""

from __future__ import annotations

import linecache
import re
import traceback
from types import FrameType

_GENERATED = "<eval_with_key>"
"""How the file names of modules begin that torch.fx generates."""


def node_in(error: BaseException) -> str | None:
    """The graph node whose generated line raised, if it was one."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith(_GENERATED):
            return _node_of(frame.line or linecache.getline(frame.filename, frame.lineno or 0))
    return None


def node_at(frame: FrameType) -> str | None:
    """The graph node that a thread, whose innermost frame this is, computes; None where it computes none."""
    current: FrameType | None = frame
    while current is not None:
        if current.f_code.co_filename.startswith(_GENERATED):
            return _node_of(linecache.getline(current.f_code.co_filename, current.f_lineno))
        current = current.f_back
    return None


def _node_of(line: str) -> str | None:
    match = re.match(r"\s*(\w+)\s*=", line)
    return match.group(1) if match else None
