"""Reading JSON that anybody may have written: within bounds of time and memory, each fault a sentence.

open, never wait  ->  a file?  how large?  ->  UTF-8?  how many values?  ->  JSON?  ->  how deep, how large numbers?
"""

from __future__ import annotations

import json
import math
import os
import stat
from typing import Any

from partkit.data.units import format_bytes, format_count
from partkit.errors import FormatError

MOST_BYTES = 64 << 20
"""A profile of 100,000 nodes has 40 MB."""
_MOST_VALUES = 4_000_000
_MOST_CONTAINERS = 2_000_000
_MOST_DEPTH = 64
_MOST_WHOLE = 1 << 64
"""The largest whole number of any dtype, and the end of its range."""
_SHOWN = 60
"""Characters of a text from a file that an error shows."""


def read_bytes(path: str | os.PathLike[str], most_bytes: int) -> bytes:
    """A file's content. Raises :class:`FormatError` for none, a pipe, a device, and what is too large."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise FormatError(f"there is no file {path}", hint="check the path, or make it with 'partkit plan'") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise FormatError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        return _content(handle, path, most_bytes)
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from None
    finally:
        os.close(handle)


def _content(handle: int, path: str | os.PathLike[str], most_bytes: int) -> bytes:
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        raise FormatError(f"{path} is {_kind(found.st_mode)} and no file", hint="save its content and name that")
    if found.st_size > most_bytes:
        raise FormatError(
            f"{path} has {format_bytes(found.st_size)}, and at most {format_bytes(most_bytes)} are read",
            hint="check that it is the right file",
        )
    with os.fdopen(handle, "rb", closefd=False) as file:
        data = file.read(most_bytes + 1)  # a file of /proc tells no size
    if len(data) > most_bytes:
        raise FormatError(f"{path} has more than {format_bytes(most_bytes)}", hint="check that it is the right file")
    return data


def read_json(path: str | os.PathLike[str]) -> Any:
    """The JSON value in a file; raises :class:`FormatError` with line and column when it is not JSON."""
    try:
        text = read_bytes(path, MOST_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} cannot be read: {error}") from None
    _require_few(text, path)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        ended_early = error.pos >= len(text.rstrip())
        what = "is cut short" if ended_early and text.strip() else "is not JSON"
        raise FormatError(
            f"{path} {what}: {error.msg} at line {error.lineno}, column {error.colno}",
            hint="make it again with 'partkit plan' or 'partkit profile'",
        ) from None
    except RecursionError:
        raise FormatError(f"{path} is nested more than {_MOST_DEPTH} deep") from None
    except ValueError:  # Python reads no whole number of more than some thousand digits
        raise FormatError(f"{path} has a whole number of thousands of digits") from None
    _require_bounded(data, path)
    return data


def shown(value: object) -> str:
    """A value from a file for a message, cut where it is long.

    >>> shown("a" * 100)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa... (100 characters)"
    """
    text = repr(value[: 2 * _SHOWN] if isinstance(value, str) else value)
    if len(text) <= _SHOWN:
        return text
    length = f" ({format_count(len(value))} characters)" if isinstance(value, str) else ""
    return f"{text[:_SHOWN]}...{length}"


def in_one_line(error: object, most: int = 400) -> str:
    """What somebody else's code says of a fault, for a message: its lines as one, cut where it is long.

    >>> in_one_line("not like this:\\n  that", most=10)
    'not like t...'
    """
    text = " ".join(str(error)[: 8 * most].split())
    return text if len(text) <= most else f"{text[:most]}..."


def _require_few(text: str, path: str | os.PathLike[str]) -> None:
    """Bound what the parsed values take, which may be 30 times the text."""
    values, containers = text.count(",") + text.count(":"), text.count("[") + text.count("{")
    if values > _MOST_VALUES or containers > _MOST_CONTAINERS:
        raise FormatError(
            f"{path} holds about {format_count(max(values, containers))} values, and at most "
            f"{format_count(_MOST_CONTAINERS)} objects and lists of {format_count(_MOST_VALUES)} values are read"
        )


def _require_bounded(data: object, path: str | os.PathLike[str]) -> None:
    """Refuse what no file of partkit's holds, and what later arithmetic or output would stumble over."""
    level, depth = [data], 0
    while level:
        depth += 1
        if depth > _MOST_DEPTH:
            raise FormatError(f"{path} is nested more than {_MOST_DEPTH} deep")
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += value
                inner += value.values()
            elif isinstance(value, list):
                inner += value
            elif (fault := _fault_of(value)) is not None:
                raise FormatError(f"{path}: {_place_of(data, value)}{fault}")
        level = inner


def _fault_of(value: object) -> str | None:
    """What is wrong with a value that is no list or object; None: nothing."""
    if isinstance(value, str) and not _is_text(value):
        return f"{shown(value)} has half a character in it (a lone surrogate)"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is no finite number"
    if isinstance(value, int) and abs(value) > _MOST_WHOLE:
        return f"a whole number of {len(str(abs(value)))} digits is too large: 2^64 is the most"
    return None


def _place_of(data: object, wanted: object) -> str:
    """Where in the data a value stands, as ``link.bytes_per_s: ``; '' for a name of an object."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in pairs:
        part = f"[{key}]" if isinstance(key, int) else f".{key[:_SHOWN]}"
        if value is wanted:
            return f"{part.lstrip('.')}: "
        inner = _place_of(value, wanted)
        if inner:
            return f"{part.lstrip('.')}{'' if inner.startswith('[') else '.'}{inner}"
    return ""


def _is_text(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISSOCK, "a socket"),
    )
    return next((name for test, name in kinds if test(mode)), "something else")
