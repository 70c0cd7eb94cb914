"""Executors: the ways of running a model, one per file; :mod:`partkit.executors.info` is the table of them."""

from __future__ import annotations

from partkit.executors.info import (
    EXECUTORS,
    WRITERS,
    WRITES,
    ExecutorInfo,
    executor_info,
    make_executor,
    require_executor,
)

__all__ = ["EXECUTORS", "WRITERS", "WRITES", "ExecutorInfo", "executor_info", "make_executor", "require_executor"]
