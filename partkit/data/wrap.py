"""Sentences broken into lines for a narrow terminal: never within a number, before its unit or in a quoted command."""

from __future__ import annotations

import re
import textwrap

_KEPT = "\u00a0"
"""Stands for a space that no line ends at."""
_UNIT = re.compile(r"(?<=\d) (?=(?:[num\u00b5]?s|[kMGT]?B|samples/s|times)\b)")
_QUOTED = re.compile(r"'[^'\n]*'")
_ARROW = re.compile(r" (?=-> )| (?=\u00b7 )")


def wrapped(text: str, width: int, *, indent: str = "") -> str:
    """``text`` in lines of at most ``width`` columns, all but the first behind ``indent``.

    A word that is longer by itself, a path say, stays whole.

    >>> print(wrapped("predicted 4.97 samples/s, and 201 ms for each stage", 24, indent="  "))
    predicted
      4.97 samples/s, and
      201 ms for each stage
    """
    return "\n".join(_wrapped_line(line, width, indent) for line in text.split("\n"))


def _wrapped_line(line: str, width: int, indent: str) -> str:
    if len(line) <= width:
        return line
    own = line[: len(line) - len(line.lstrip(" "))]
    kept = _UNIT.sub(_KEPT, _ARROW.sub(_KEPT, line))
    kept = _QUOTED.sub(lambda found: found[0].replace(" ", _KEPT) if len(found[0]) < width else found[0], kept)
    lines = textwrap.wrap(
        kept,
        max(width, len(indent) + 8),
        initial_indent=own,
        subsequent_indent=own + indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
    return "\n".join(lines).replace(_KEPT, " ")


def wrapped_command(words: str, width: int, *, indent: str = "    ") -> str:
    r"""A shell command in lines of at most ``width`` columns that a shell takes as one.

    >>> print(wrapped_command("partkit plan bert --stages 4 -o plans/mine.json", 24))
    partkit plan bert \
        --stages 4 \
        -o plans/mine.json
    """
    if len(words) <= width:
        return words
    lines = textwrap.wrap(
        _QUOTED.sub(lambda found: found[0].replace(" ", _KEPT), _option_values(words)),
        max(width - 2, len(indent) + 8),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return " \\\n".join(lines).replace(_KEPT, " ")


def _option_values(words: str) -> str:
    """An option stays with its value."""
    return re.sub(r"( --?[\w-]+) (?=[^-\s])", rf"\1{_KEPT}", words)
