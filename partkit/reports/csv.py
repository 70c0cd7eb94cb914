"""A document's main table as comma-separated values: plain numbers in SI units, the unit in the heading."""

from __future__ import annotations

import csv
import io

from partkit.data.document import Document
from partkit.reports.sheet import Cell, printable
from partkit.reports.sheets import sheet_of


def render(document: Document) -> str:
    """The first table of the document's sheet, with the document's own figures at the end of each row."""
    sheet = printable(sheet_of(document))
    table, figures = sheet.tables[0], sheet.figures
    columns = [*table.columns, *(figures.columns if figures else ())]
    own = figures.rows[0] if figures else ()
    rows = table.rows or (((Cell("", None),) * len(table.columns),) if figures else ())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.key for column in columns])
    writer.writerows([cell.value for cell in (*row, *own)] for row in rows)
    return text.getvalue()
