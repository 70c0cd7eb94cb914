"""How long work reports its progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with a label, the steps done and the steps in all."""


def silent(_label: str, _done: int, _total: int) -> None:
    """Report to nobody."""
