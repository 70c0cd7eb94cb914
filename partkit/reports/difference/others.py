"""What became of a document whose kind has no words of its own."""

from __future__ import annotations

from partkit.data.document import Document
from partkit.data.units import format_count
from partkit.reports.difference.told import Told
from partkit.reports.difference.walk import changes_between


def tell(before: Document, after: Document, _: tuple[str, str]) -> Told:
    """Value by value."""
    skipped = ("environment", "provenance")
    changes = tuple(changes_between(before.to_data(), after.to_data(), "", skip=skipped))
    count = len(changes)
    return Told(f"{format_count(count)} value{'s' if count != 1 else ''} differ{'s' if count == 1 else ''}.", changes)
