"""HTML made of elements: text is escaped where it enters, so that no name from a file can become markup."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TypeAlias

from partkit.data.printable import line
from partkit.reports.sheet import Cell, Sheet, Table, printable


class Html(str):
    """Text that is markup already: made by :func:`element` and of our own constants, never of data."""

    __slots__ = ()


Child: TypeAlias = "Html | str | None"
_NEVER_BROKEN = 24
"""Longest name of a row that stays on one line whatever the width."""
_VOID = frozenset({"input", "link", "meta", "line", "rect"})


def text(value: str) -> Html:
    """``value`` as text of a page; what would reorder or hide text shows as a code."""
    return value if isinstance(value, Html) else Html(escape(line(value)))


def joined(*children: Child) -> Html:
    """Children one after the other; None is left out."""
    return Html("".join(text(child) for child in children if child is not None))


def element(tag: str, *children: Child, **attributes: str | float | bool | None) -> Html:
    """An element; ``class_`` and ``aria_label`` stand for ``class`` and ``aria-label``, True for a bare attribute.

    >>> element("a", "1 < 2", href="#x", class_="note", title=None)
    '<a href="#x" class="note">1 &lt; 2</a>'
    >>> element("input", type="search", hidden=True)
    '<input type="search" hidden=""/>'
    """
    parts = [tag]
    for key, value in attributes.items():
        name = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(f'{name}=""')
        elif value is not None and value is not False:
            parts.append(f'{name}="{escape(line(str(value)))}"')
    start = f"<{' '.join(parts)}"
    return Html(f"{start}/>" if tag in _VOID and not children else f"{start}>{joined(*children)}</{tag}>")


@dataclass(frozen=True)
class Section:
    """A part of the page: what links to it need, and itself."""

    anchor: str
    title: str
    html: Html


def section(anchor: str, title: str, *children: Child) -> Section:
    """A part of the page with a heading that its region is named by."""
    heading = element("h2", title, id=f"{anchor}-title")
    whole = element("section", heading, *children, id=anchor, aria_labelledby=f"{anchor}-title")
    return Section(anchor, title, whole)


def paragraphs(lines: tuple[str, ...] | list[str], class_: str | None = None) -> Html:
    """A paragraph for each line."""
    return joined(*(element("p", each, class_=class_) for each in lines))


def folded(
    summary: Child, *children: Child, is_open: bool = False, class_: str | None = None, style: str | None = None
) -> Html:
    """Something that unfolds, also without JavaScript."""
    return element("details", element("summary", summary), *children, open=is_open, class_=class_, style=style)


def sheet_html(sheet: Sheet, caption: str, *, sortable: bool = False) -> Html:
    """A sheet's tables and the sentences under them, as every other renderer shows them."""
    fit = printable(sheet)
    tables = [table_html(table.without_empty_columns(), caption, sortable=sortable) for table in fit.tables]
    return joined(*tables, paragraphs(fit.notes, class_="note"))


def table_html(table: Table, caption: str, *, sortable: bool = False) -> Html:
    """A table that scrolls sideways by itself where it is too wide; sortable by a script that adds its buttons."""
    numbers = ["n" if column.is_number else None for column in table.columns]
    heads = [
        element("th", column.title, scope="col", class_=n) for column, n in zip(table.columns, numbers, strict=True)
    ]
    rows = [
        element(
            "tr",
            *(_cell(cell, n, is_head=place == 0) for place, (cell, n) in enumerate(zip(row, numbers, strict=True))),
        )
        for row in table.rows
    ]
    return wide(
        element(
            "table",
            captioned(caption),
            element("thead", element("tr", *heads)),
            element("tbody", *rows),
            class_="sortable" if sortable else None,
        ),
        label=caption,
    )


def captioned(caption: str) -> Html:
    """A table's caption, which breaks into lines where the window is narrower than the table."""
    return element("caption", element("span", caption))


def wide(content: Html, *, label: str) -> Html:
    """What may be wider than the page scrolls in a region that the keyboard reaches."""
    return element("div", content, class_="wide", role="group", aria_label=label, tabindex=0)


def _cell(cell: Cell, numeric: str | None, *, is_head: bool) -> Html:
    value = cell.value
    sort_by = repr(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if is_head:
        whole = "short" if len(cell.text) <= _NEVER_BROKEN else None
        return element("th", cell.text, scope="row", class_=numeric or whole, data_v=sort_by)
    return element("td", cell.text, class_=numeric, data_v=sort_by)
