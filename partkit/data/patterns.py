"""Regular expressions that a person gives for nodes: what can be said against them without a graph."""

from __future__ import annotations

import re

from partkit.data.reading import shown
from partkit.errors import UsageError


def require_regex(option: str, pattern: str) -> None:
    """Raise :class:`UsageError` naming ``option`` for what is no regular expression."""
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(
            f"{option} {shown(pattern)} is not a regular expression: {error}", hint="escape it, as in 'layer\\.0'"
        ) from None
