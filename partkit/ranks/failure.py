"""Turn the exception that ended a rank into the failure that its parent reads."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from partkit.data.job import Job
from partkit.errors import (
    CaptureError,
    MachineError,
    OutOfMemoryError,
    PartkitError,
    RankFailedError,
    RefusedByRankError,
    UnsupportedError,
)
from partkit.ranks.out_of_memory import ADVICE, memory_words
from partkit.stages.fault import node_in

_OUT_OF_MEMORY = r"out of memory|failed to cuda \w*alloc|can(not|'t) allocate memory|not enough memory|_ALLOC_FAILED"
_LOST_PEER = r"gloo/transport|Connection (closed|reset) by peer|connectFullMesh|Socket closed"
"""What gloo, which raises a plain RuntimeError, says of a peer that has gone, or of a time-out in waiting for one."""
_NO_REASON = r"unhandled (cuda|system) error|NOT_INITIALIZED|INTERNAL_ERROR|CUDNN_STATUS_EXECUTION_FAILED"
_FULL_BYTES = 1 << 30
"""NCCL's buffers for a communicator of a few ranks, or a context of a library, take hundreds of megabytes."""


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


def failure_of(error: BaseException, rank: int, job: Job | None = None) -> Failure:
    """The failure of a rank that ``error`` ended; names the graph node where there is one.

    Of memory that ran out it tells the numbers, where the rank had come to know its ``job``.
    """
    text = str(error).strip().splitlines()
    first = text[0] if text else type(error).__name__
    is_out_of_memory = ran_out_of_memory(error)
    is_consequence = _lost_a_peer(error) and not is_out_of_memory
    if isinstance(error, PartkitError) and not isinstance(error, RankFailedError):
        is_unsupported = isinstance(error, UnsupportedError | MachineError | CaptureError)
        return Failure(rank, str(error), time.time(), is_consequence, error.exit_code, is_unsupported)
    node = node_in(error)
    where = f" at node {node}" if node else ""
    words = f"{type(error).__name__}: {first}" if text else type(error).__name__
    if isinstance(error, SystemExit):
        words = f"code that it ran ended the process, {words}"
    if is_out_of_memory and job is not None:
        words = memory_words(error, job, rank)
    return Failure(
        rank,
        f"{words}{where}",
        time.time(),
        is_consequence,
        is_out_of_memory=is_out_of_memory,
    )


def error_of(failure: Failure, rank_name: str, where: str) -> PartkitError:
    """The error that a parent raises for a rank's failure; ``where`` says where to read more of it."""
    if failure.is_unsupported:
        return UnsupportedError(failure.message)
    if failure.exit_code != RankFailedError.exit_code:  # a fault of the request, found out by a rank
        return RefusedByRankError(failure.message, exit_code=failure.exit_code)
    if failure.is_out_of_memory:
        return OutOfMemoryError(f"{rank_name} failed: {failure.message}", hint=f"{ADVICE}; {where}", rank=failure.rank)
    return RankFailedError(f"{rank_name} failed: {failure.message}", hint=where, rank=failure.rank)


def write_failure(log_dir: Path, failure: Failure) -> None:
    """Called by a failing rank: leave word of the cause for the parent."""
    (log_dir / f"failure-{failure.rank}.json").write_text(json.dumps(failure.__dict__), encoding="utf-8")


def read_failures(log_dir: Path) -> list[Failure]:
    """What failing ranks wrote; not what one was writing when it was ended."""
    failures = []
    for path in log_dir.glob("failure-*.json"):
        with contextlib.suppress(ValueError, OSError):
            failures.append(Failure(**json.loads(path.read_text(encoding="utf-8"))))
    return failures


def _lost_a_peer(error: BaseException) -> bool:
    if isinstance(error, dist.DistError):
        return True
    return isinstance(error, RuntimeError) and re.search(_LOST_PEER, str(error)) is not None


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether memory, a device's or the host's, ran out: libraries that allocate for themselves say so in many words.

    NCCL, cuBLAS and others may give no reason at all ("unhandled cuda error"): where the device is full, that is it.
    """
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(each, MemoryError | torch.OutOfMemoryError | OutOfMemoryError) for each in causes):
        return True
    if any(isinstance(each, OSError) and each.errno == errno.ENOMEM for each in causes):
        return True
    texts = [str(each) for each in causes]
    if any(re.search(_OUT_OF_MEMORY, text, re.IGNORECASE) for text in texts):
        return True
    return any(re.search(_NO_REASON, text, re.IGNORECASE) for text in texts) and _is_device_full()


def _is_device_full() -> bool:
    """Whether this process's CUDA device has next to no memory left."""
    if not torch.cuda.is_initialized():
        return False
    try:
        free_bytes, _ = torch.cuda.mem_get_info()
    except RuntimeError:  # the fault broke the context
        return False
    return free_bytes < _FULL_BYTES
