"""How long-running work tells how far it is, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with what is being done, how many steps are done and how many there are (0: unknown)."""

    def __call__(self, label: str, done: int, total: int, /) -> None:
        """Take note of one step."""
