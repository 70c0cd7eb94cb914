"""Turn a document into text: one format per file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from partkit.data.document import Document
from partkit.errors import UsageError

RENDERERS = {
    "table": "partkit.reports.table:render",
    "markdown": "partkit.reports.markdown:render",
    "csv": "partkit.reports.csv:render",
    "json": "partkit.reports.json:render",
}


def render(document: Document, form: str) -> str:
    """``document`` as text in one of :data:`RENDERERS`, ending with a newline.

    Raises :class:`UsageError` for an unknown format.
    """
    require_form(form)
    module, _, name = RENDERERS[form].partition(":")
    renderer: Callable[[Document], str] = getattr(import_module(module), name)
    return renderer(document)


def require_form(form: str, *, others: Sequence[str] = ()) -> None:
    """Raise :class:`UsageError` for a form that is none of :data:`RENDERERS`; it names ``others`` beside them."""
    if form not in RENDERERS:
        raise UsageError(f"there is no format {form!r}", hint=f"the formats are {', '.join((*RENDERERS, *others))}")
