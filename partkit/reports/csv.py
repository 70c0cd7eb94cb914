"""A document's main table as comma-separated values: plain numbers in SI units, the unit in the heading."""

from __future__ import annotations

import csv
import io

from partkit.data.document import Document
from partkit.reports.sheet import printable
from partkit.reports.sheets import sheet_of


def render(document: Document) -> str:
    """The first table of the document's sheet."""
    table = printable(sheet_of(document)).tables[0]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.key for column in table.columns])
    writer.writerows([cell.value for cell in row] for row in table.rows)
    return text.getvalue()
