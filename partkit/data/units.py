"""Parse and format quantities: the only place that rounds numbers for people."""

from __future__ import annotations

import math
import re

from partkit.errors import UsageError

_BYTE_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_SIZE = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Zµ]*)\s*")


def parse_bytes(text: str) -> int:
    """Bytes of a size such as ``"24GiB"``, ``"1.5 GB"`` or ``"1000"``.

    Raises :class:`UsageError` for anything else.

    >>> parse_bytes("24GiB")
    25769803776
    """
    match = _SIZE.fullmatch(text)
    factor = _BYTE_UNITS.get(match.group(2).lower()) if match else None
    if match is None or factor is None or not math.isfinite(float(match.group(1)) * factor):
        raise UsageError(f"{text!r} is not a size", hint="write it as 24GiB, 1.5GB or a number of bytes")
    return int(float(match.group(1)) * factor)


def parse_seconds(text: str) -> float:
    """Seconds of a time such as ``"20ms"``, ``"500 us"`` or ``"0.5s"``.

    Raises :class:`UsageError` for anything else, a bare number included: nobody knows its unit.

    >>> parse_seconds("20ms"), parse_seconds("0.5 s")
    (0.02, 0.5)
    """
    match = _SIZE.fullmatch(text)
    factor = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}.get(match.group(2).lower()) if match else None
    if match is None or factor is None:
        raise UsageError(f"{text!r} is not a time", hint="write it as 20ms, 500us or 0.5s")
    return float(match.group(1)) * factor


def format_bytes(num_bytes: float) -> str:
    """A size in decimal units with three significant digits.

    >>> format_bytes(393216), format_bytes(0), format_bytes(2.5e9)
    ('393 kB', '0 B', '2.5 GB')
    """
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(num_bytes) >= factor * 0.9995:
            return f"{_three_digits(num_bytes / factor)} {unit}"
    return f"{num_bytes:.0f} B"


def format_seconds(seconds: float) -> str:
    """A duration in the largest unit that keeps it at or above one.

    >>> format_seconds(0.00084), format_seconds(2.1e-5), format_seconds(12.0), format_seconds(0.0)
    ('840 µs', '21 µs', '12 s', '0 s')
    """
    if seconds == 0 or not math.isfinite(seconds):
        return f"{seconds:.0f} s"
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(seconds) >= factor * 0.9995:
            return f"{_three_digits(seconds / factor)} {unit}"
    return f"{_three_digits(seconds / 1e-9)} ns"


def format_rate(per_second: float) -> str:
    """A rate with thousands separators from 1,000 on and three significant digits below.

    >>> format_rate(1163.4), format_rate(7.126)
    ('1,163', '7.13')
    """
    return f"{per_second:,.0f}" if abs(per_second) >= 999.5 else _three_digits(per_second)


def format_change(change: float) -> str:
    """How much more or less, of a share, with its sign.

    >>> format_change(0.634), format_change(-0.021), format_change(0.0002), format_change(1234.5)
    ('+63%', '-2.1%', '±0%', '+123,450%')
    """
    if abs(change) < 5e-4:
        return "±0%"
    return f"{100 * change:+,.0f}%" if abs(change) >= 0.0995 else f"{100 * change:+.1f}%"


def format_ratio(before: float, after: float) -> str:
    """How much ``after`` is of ``before``, both positive, in words.

    >>> format_ratio(100, 163), format_ratio(100, 97.9), format_ratio(100, 100.01), format_ratio(100, 104)
    ('1.63 times that', '2.1% less', 'as much', '4.0% more')
    """
    ratio = after / before
    if abs(ratio - 1) < 5e-4:
        return "as much"
    if 0.9 <= ratio <= 1.1:
        return f"{100 * abs(ratio - 1):.1f}% {'more' if ratio > 1 else 'less'}"
    return f"{_three_digits(ratio)} times that"


def format_count(count: int) -> str:
    """A count with thousands separators.

    >>> format_count(100000)
    '100,000'
    """
    return f"{count:,}"


def significant(value: float, digits: int) -> float:
    """``value`` rounded to ``digits`` significant digits; infinities and NaN pass unchanged.

    >>> significant(0.000123456, 4)
    0.0001235
    """
    return float(f"{value:.{digits}g}") if math.isfinite(value) else value


def _three_digits(value: float) -> str:
    text = f"{value:.3g}"
    return f"{value:.0f}" if "e" in text else text
