"""A document as aligned columns for a terminal."""

from __future__ import annotations

import io

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from partkit.data.document import Document
from partkit.data.wrap import wrapped
from partkit.reports.sheet import Sheet, Table, printable
from partkit.reports.sheets import sheet_of

_UNLIMITED = 10_000
_GAP = 2
"""Spaces between columns."""
_NARROWEST = 24
"""Width down to which a column of words may wrap."""


def render(document: Document, *, width: int | None = None, colour: bool = False) -> str:
    """The document's sheet in lines of at most ``width`` characters (None: no limit).

    Columns of words and sentences wrap; where columns do not fit all the same, each row is told in lines of its own.
    """
    return render_sheet(sheet_of(document), width=width, colour=colour)


def render_sheet(sheet: Sheet, *, width: int | None = None, colour: bool = False) -> str:
    """Heading, tables and sentences of a sheet."""
    sheet = printable(sheet)
    text = io.StringIO()
    console = Console(
        file=text, width=_UNLIMITED, force_terminal=colour, no_color=not colour, highlight=False, emoji=False
    )
    most = _UNLIMITED if width is None else width
    if sheet.heading:
        console.print(Text(wrapped(sheet.heading, most, indent="  ")))
    for table in sheet.tables:
        _print_table(console, table.without_empty_columns(), most)
    for note in sheet.notes:
        console.print(Text(wrapped(note, most, indent="  ")))
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _print_table(console: Console, table: Table, width: int) -> None:
    drawn = RichTable(
        box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold" if console.is_terminal else ""
    )
    least = most = -_GAP
    for position, column in enumerate(table.columns):
        widest = max(cell_len(text) for text in (column.title, *(row[position].text for row in table.rows)))
        narrowest = min(_NARROWEST, widest) if column.may_wrap else widest
        drawn.add_column(column.title, justify="right" if column.is_number else "left", min_width=narrowest)
        least += narrowest + _GAP
        most += widest + _GAP
    if least > width:
        _print_records(console, table, width)
        return
    for row in table.rows:
        drawn.add_row(*(Text(cell.text) for cell in row))
    console.print(drawn, width=min(most, width))


def _print_records(console: Console, table: Table, width: int) -> None:
    """Each row as lines of its own, where no columns would fit beside each other."""
    first, *others = table.columns
    widest = max((cell_len(column.title) for column in others), default=0)
    for row in table.rows:
        head = f"{first.title} {row[0].text}" if first.is_number else row[0].text
        console.print(Text(wrapped(head, width, indent="  ")), style="bold" if console.is_terminal else "")
        for column, cell in zip(others, row[1:], strict=True):
            if cell.value not in (None, ""):
                console.print(Text(_record_line(f"{'':{_GAP}}{column.title:{widest}}{'':{_GAP}}", cell.text, width)))


def _record_line(start: str, text: str, width: int) -> str:
    """A value beside its title, or under it where a word of it is too long for that."""
    room = width - len(start)
    if max(map(len, text.split()), default=0) > room:
        start, room = f"{start.rstrip()}\n{'':{2 * _GAP}}", width - 2 * _GAP
    indent = " " * (width - room)
    return start + wrapped(text, room).replace("\n", f"\n{indent}")
