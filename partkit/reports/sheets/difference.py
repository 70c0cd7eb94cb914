"""What a difference shows: the sentence that matters most, each value that changed, and the rest in words."""

from __future__ import annotations

from collections.abc import Sequence

from partkit.data.difference import Change, Difference, Scalar, Unit
from partkit.data.units import format_bytes, format_change, format_count, format_rate, format_seconds
from partkit.reports.sheet import Cell, Column, Sheet, Table

_COLUMNS = (
    Column("what", "path", is_number=False, may_wrap=True),
    Column("before", "before"),
    Column("after", "after"),
    Column("change", "change"),
)
_MOST_NAMED = 5
_MOST_LETTERS = 24
"""Longer values stand in a sentence of their own."""


def difference_sheet(found: Difference) -> Sheet:
    """The names of both and the sentence, a row for each value that reads another way, then what no table tells."""
    short: list[tuple[Cell, ...]] = []
    long: list[tuple[Cell, ...]] = []
    for change in found.changes:
        row = _row(change)
        if row[1].text != row[2].text:
            (long if max(len(cell.text) for cell in row[1:3]) > _MOST_LETTERS else short).append(row)
    notes = (
        *_only(found.before, found.only_before),
        *_only(found.after, found.only_after),
        *found.notes,
        *(f"{what.text}: {before.text} -> {after.text}" for what, before, after, _ in long),
    )
    heading = f"{found.before} -> {found.after}: {found.text}"
    return Sheet(tables=(Table(_COLUMNS, tuple(short)),), heading=heading, notes=notes)


def _row(change: Change) -> tuple[Cell, ...]:
    relative = "" if change.change is None else format_change(change.change)
    return (
        Cell(change.what, change.path),
        _value(change.before, change.unit),
        _value(change.after, change.unit),
        Cell(relative, change.change),
    )


def _value(value: Scalar | tuple[Scalar, ...], unit: Unit) -> Cell:
    if isinstance(value, tuple):
        texts = [_told(each, unit) for each in value]
        return Cell(", ".join(texts) or "none", " ".join(str(each) for each in value))
    return Cell(_told(value, unit), value)


def _told(value: Scalar, unit: Unit) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if unit == "s":
        return format_seconds(value)
    if unit == "bytes":
        return format_bytes(value)
    if unit == "bytes/s":
        return f"{format_bytes(value)}/s"
    if unit == "samples/s":
        return format_rate(value)
    if unit in ("share", "percent"):
        return f"{value * (100 if unit == 'share' else 1):.1f}%"
    return format_count(value) if isinstance(value, int) else f"{value:.4g}"


def _only(name: str, things: Sequence[str]) -> list[str]:
    if not things:
        return []
    more = f" and {format_count(len(things) - _MOST_NAMED)} more" if len(things) > _MOST_NAMED else ""
    return [f"only in {name}: {', '.join(things[:_MOST_NAMED])}{more}"]
