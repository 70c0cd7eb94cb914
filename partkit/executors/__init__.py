"""Executors: one way of running a model a file, all behind the same three calls."""

from __future__ import annotations

from importlib import import_module

from partkit.errors import UsageError
from partkit.executors.protocol import Executor, RankContext

EXECUTORS = {
    "single": "partkit.executors.single:SingleExecutor",
    "pipeline": "partkit.executors.pipeline:PipelineExecutor",
    "split": "partkit.executors.split:SplitExecutor",
    "dispatch": "partkit.executors.dispatch:DispatchExecutor",
    "fsdp": "partkit.executors.fsdp:FsdpExecutor",
}
"""Executor classes by name; adding one is a new file and a line here."""


__all__ = ["EXECUTORS", "Executor", "RankContext", "make_executor", "require_executor"]


def require_executor(name: str) -> None:
    """Raise :class:`UsageError` with the known names for an unknown one."""
    if name not in EXECUTORS:
        raise UsageError(f"there is no executor {name!r}", hint=f"choose from {', '.join(EXECUTORS)}")


def make_executor(context: RankContext) -> Executor:
    """This rank's part of the job's executor. Raises :class:`UsageError` for an unknown name."""
    require_executor(context.job.executor)
    module, _, attribute = EXECUTORS[context.job.executor].partition(":")
    executor: Executor = getattr(import_module(module), attribute)(context)
    return executor
