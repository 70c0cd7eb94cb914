"""Turn the exception that ended a rank into the failure that its parent reads."""

from __future__ import annotations

import json
import linecache
import re
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import torch.distributed as dist

from partkit.errors import (
    CaptureError,
    MachineError,
    OutOfMemoryError,
    PartkitError,
    RankFailedError,
    RefusedByRankError,
    UnsupportedError,
)


@dataclass(frozen=True)
class Failure:
    """What a failing rank wrote about itself before it ended."""

    rank: int
    message: str
    at: float
    is_consequence: bool
    """True where the rank only lost a peer."""
    exit_code: int = 5
    is_unsupported: bool = False
    """True where the executor cannot run the model here, whatever the rank does."""
    is_out_of_memory: bool = False
    """True where the rank's device had no memory left."""


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


def error_of(failure: Failure, rank_name: str, where: str) -> PartkitError:
    """The error that a parent raises for a rank's failure; ``where`` says where to read more of it."""
    if failure.is_unsupported:
        return UnsupportedError(failure.message)
    if failure.exit_code != RankFailedError.exit_code:  # a fault of the request, found out by a rank
        return RefusedByRankError(failure.message, exit_code=failure.exit_code)
    kind = OutOfMemoryError if failure.is_out_of_memory else RankFailedError
    return kind(f"{rank_name} failed: {failure.message}", hint=where)


def write_failure(log_dir: Path, failure: Failure) -> None:
    """Called by a failing rank: leave word of the cause for the parent."""
    (log_dir / f"failure-{failure.rank}.json").write_text(json.dumps(failure.__dict__), encoding="utf-8")


def read_failures(log_dir: Path) -> list[Failure]:
    """What failing ranks wrote."""
    return [Failure(**json.loads(path.read_text(encoding="utf-8"))) for path in log_dir.glob("failure-*.json")]


def _node_in(error: BaseException) -> str | None:
    """The graph node whose generated line raised."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith("<eval_with_key>"):
            line = frame.line or linecache.getline(frame.filename, frame.lineno or 0)
            match = re.match(r"\s*(\w+)\s*=", line)
            return match.group(1) if match else None
    return None
