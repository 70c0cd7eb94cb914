"""Where in a stage an error was raised."""

from __future__ import annotations

import linecache
import re
import traceback


def node_in(error: BaseException) -> str | None:
    """The graph node whose generated line raised, if it was one."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith("<eval_with_key>"):
            line = frame.line or linecache.getline(frame.filename, frame.lineno or 0)
            match = re.match(r"\s*(\w+)\s*=", line)
            return match.group(1) if match else None
    return None
