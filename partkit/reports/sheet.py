"""A document as tables and sentences for people, before a renderer lays them out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from partkit.data.printable import line

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Column:
    """A column of a table: ``title`` for people, ``key`` (with its unit) for programs."""

    title: str
    key: str
    is_number: bool = True
    may_wrap: bool = False
    """Long words that a narrow terminal shows on several lines."""


@dataclass(frozen=True)
class Cell:
    """A value and how people read it."""

    text: str
    value: Value


@dataclass(frozen=True)
class Table:
    """Rows of cells, one cell per column."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows)

    def without_empty_columns(self) -> Table:
        """The table less the columns that hold no value in any row, as people read it."""
        kept = [i for i in range(len(self.columns)) if any(row[i].value not in (None, "") for row in self.rows)]
        return Table(
            columns=tuple(self.columns[i] for i in kept), rows=tuple(tuple(row[i] for i in kept) for row in self.rows)
        )


@dataclass(frozen=True)
class Sheet:
    """Tables, the first being the one that matters most, and the sentences that stand above and under them."""

    tables: tuple[Table, ...]
    heading: str = ""
    notes: tuple[str, ...] = ()
    figures: Table | None = None
    """One row of the whole document's own figures, which people read in the notes and programs beside each row."""


def printable(sheet: Sheet) -> Sheet:
    """The sheet as a renderer may write it: names come from files, and may hold what a terminal obeys."""
    return Sheet(
        tables=tuple(_printable_table(table) for table in sheet.tables),
        heading=line(sheet.heading),
        notes=tuple(line(note) for note in sheet.notes),
        figures=None if sheet.figures is None else _printable_table(sheet.figures),
    )


def _printable_table(table: Table) -> Table:
    rows = tuple(tuple(_printable_cell(cell) for cell in row) for row in table.rows)
    return Table(columns=tuple(replace(column, title=line(column.title)) for column in table.columns), rows=rows)


def _printable_cell(cell: Cell) -> Cell:
    return Cell(line(cell.text), line(cell.value) if isinstance(cell.value, str) else cell.value)


def text_cell(text: str | None) -> Cell:
    """A cell of words; None shows as a dash."""
    return Cell(text or "–", text)
