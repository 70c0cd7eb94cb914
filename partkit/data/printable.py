"""Text from files and names made fit for a terminal: what would move the cursor is shown as a code."""

from __future__ import annotations

import re

_CONTROL = r"\x00-\x1f\x7f-\x9f"
_REORDERING = "\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff"
_SURROGATES = "\ud800-\udfff"
_LINE = re.compile(f"[{_CONTROL}{_REORDERING}{_SURROGATES}]")
_LINES = re.compile(f"(?![\n\t])[{_CONTROL}{_REORDERING}{_SURROGATES}]")
_IN_JSON = re.compile(f"[\x7f-\x9f{_REORDERING}{_SURROGATES}]")


def line(text: str) -> str:
    """One line: escape sequences, line ends and marks of reading direction become ``\\x1b`` and the like."""
    return _LINE.sub(_code, text)


def lines(text: str) -> str:
    """The same for text of several lines."""
    return _LINES.sub(_code, text)


def escaped_json(text: str) -> str:
    """JSON text with the same value and no such character: JSON itself escapes only those below a space."""
    return _IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _code(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
