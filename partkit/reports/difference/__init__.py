"""What differs between two documents of a kind, in words and numbers: one kind per file."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from partkit.data.difference import Difference
from partkit.data.document import Document
from partkit.errors import UsageError
from partkit.reports.difference.told import Told
from partkit.reports.difference.walk import changes_between

WORDS = {
    "profile": "partkit.reports.difference.profiles:tell",
    "cluster": "partkit.reports.difference.clusters:tell",
    "plan": "partkit.reports.difference.plans:tell",
    "run": "partkit.reports.difference.runs:tell",
    "comparison": "partkit.reports.difference.comparisons:tell",
}
OTHERS = "partkit.reports.difference.others:tell"
"""Of every other kind each value is told, and nothing in words."""

CIRCUMSTANCES = ("environment", "provenance")
"""When, where and with what a document was made: told, and no difference of what it says."""


def difference(before: Document, after: Document, names: tuple[str, str]) -> Difference:
    """What became of ``before`` in ``after``; ``names`` is what the reader knows them by.

    Raises :class:`UsageError` for documents of two kinds.
    """
    kinds = tuple(type(each).model_fields["kind"].default for each in (before, after))
    if kinds[0] != kinds[1]:
        raise UsageError(
            f"{names[0]} is a {kinds[0]} and {names[1]} a {kinds[1]}, and only files of one kind can be told apart",
            hint="name two plans, two runs or two comparisons, say",
        )
    module, _, name = WORDS.get(kinds[0], OTHERS).partition(":")
    tell: Callable[[Document, Document, tuple[str, str]], Told] = getattr(import_module(module), name)
    told = tell(before, after, names)
    circumstances = [
        change
        for field in CIRCUMSTANCES
        for change in changes_between(getattr(before, field, {}), getattr(after, field, {}), field)
    ]
    same = not (told.changes or told.moved or told.only_before or told.only_after or told.notes)
    return Difference(
        of=kinds[0],
        before=names[0],
        after=names[1],
        same=same,
        text=told.text if not same else f"The two {kinds[0]}s are the same.",
        changes=(*told.changes, *circumstances),
        moved=told.moved,
        only_before=told.only_before,
        only_after=told.only_after,
        notes=told.notes,
    )
