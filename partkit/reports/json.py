"""A document as the JSON of its file."""

from __future__ import annotations

from partkit.data.document import Document


def render(document: Document) -> str:
    """The file's text."""
    return document.to_json()
