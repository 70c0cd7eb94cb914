"""A document as Markdown."""

from __future__ import annotations

from partkit.data.document import Document
from partkit.reports.sheet import Table, printable
from partkit.reports.sheets import sheet_of


def render(document: Document) -> str:
    """Tables and sentences, a blank line between any two."""
    sheet = printable(sheet_of(document))
    blocks = [sheet.heading, *(_table(table.without_empty_columns()) for table in sheet.tables), *sheet.notes]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _table(table: Table) -> str:
    lines = [
        [column.title for column in table.columns],
        ["---:" if column.is_number else ":---" for column in table.columns],
        *([cell.text.replace("|", "\\|") for cell in row] for row in table.rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
