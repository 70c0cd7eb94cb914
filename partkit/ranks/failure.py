"""Turn the exception that ended a rank into the failure that its parent reads."""

from __future__ import annotations

import linecache
import re
import time
import traceback

import torch.distributed as dist

from partkit.errors import CaptureError, MachineError, PartkitError, RankFailedError, UnsupportedError
from partkit.ranks.group import Failure


def failure_of(error: BaseException, rank: int) -> Failure:
    """The failure of a rank that ``error`` ended; names the graph node where there is one."""
    text = str(error).strip().splitlines()
    first = text[0] if text else type(error).__name__
    is_consequence = isinstance(error, dist.DistError) or "Connection closed by peer" in str(error)
    if isinstance(error, PartkitError) and not isinstance(error, RankFailedError):
        is_unsupported = isinstance(error, UnsupportedError | MachineError | CaptureError)
        return Failure(rank, str(error), time.time(), is_consequence, error.exit_code, is_unsupported)
    node = _node_in(error)
    where = f" at node {node}" if node else ""
    return Failure(
        rank,
        f"{type(error).__name__}: {first}{where}",
        time.time(),
        is_consequence,
        is_out_of_memory="out of memory" in first,
    )


def _node_in(error: BaseException) -> str | None:
    """The graph node whose generated line raised."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith("<eval_with_key>"):
            line = frame.line or linecache.getline(frame.filename, frame.lineno or 0)
            match = re.match(r"\s*(\w+)\s*=", line)
            return match.group(1) if match else None
    return None
