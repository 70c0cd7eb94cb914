"""CUDA graphs, and work that none can hold: what waits for the device, or asks it for a number, on its way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class NotCapturableError(Exception):
    """CUDA cannot hold the work in a graph; its cause is what was refused. The work can still be run as it is."""


def capture_graph(
    graph: torch.cuda.CUDAGraph,
    work: Callable[[], object],
    *,
    stream: torch.cuda.Stream | None = None,
    pool: Any = None,
) -> None:
    """Make ``graph`` hold what ``work`` queues; it must have run before, since libraries set themselves up then.

    Raises :class:`NotCapturableError` with the device fit for more work, in whatever form.
    """
    before = torch.cuda.current_stream(None if stream is None else stream.device)
    try:
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            work()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        torch.cuda.set_stream(before)
        torch.cuda.synchronize(before.device)
        refused = first_of(error)
        raise NotCapturableError(_sentence(refused)) from refused


def first_of(error: BaseException) -> BaseException:
    """What was refused first: that the capture is spoilt is said later, of whatever comes next."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _sentence(error: BaseException) -> str:
    """The first sentence of an error's text."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].partition(". ")[0].rstrip(".")
