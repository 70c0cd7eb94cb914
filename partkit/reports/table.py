"""A document as aligned columns for a terminal."""

from __future__ import annotations

import io

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from partkit.data.document import Document
from partkit.reports.sheet import Sheet, Table, printable
from partkit.reports.sheets import sheet_of

_UNLIMITED = 10_000
_GAP = 2
"""Spaces between columns."""
_NARROWEST = 24
"""Width down to which a column of words may wrap."""


def render(document: Document, *, width: int | None = None, colour: bool = False) -> str:
    """The document's sheet; columns of words wrap at ``width`` characters (None: no limit)."""
    return render_sheet(sheet_of(document), width=width, colour=colour)


def render_sheet(sheet: Sheet, *, width: int | None = None, colour: bool = False) -> str:
    """Heading, tables and sentences of a sheet."""
    sheet = printable(sheet)
    text = io.StringIO()
    console = Console(
        file=text, width=_UNLIMITED, force_terminal=colour, no_color=not colour, highlight=False, emoji=False
    )
    if sheet.heading:
        console.print(Text(sheet.heading))
    for table in sheet.tables:
        _print_table(console, table.without_empty_columns(), _UNLIMITED if width is None else width)
    for note in sheet.notes:
        console.print(Text(note))
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
    for row in table.rows:
        drawn.add_row(*(Text(cell.text) for cell in row))
    # Wider than the terminal rather than with figures cut off.
    console.print(drawn, width=max(least, min(most, width)))
