"""What an export gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """A plan's cuts as one tool takes them."""

    text: str
    """As it is pasted or written to a file."""
    data: Any
    """The same as JSON data."""
    notes: tuple[str, ...] = ()
    """What the tool will do otherwise than partkit would, and how the setting is used."""
