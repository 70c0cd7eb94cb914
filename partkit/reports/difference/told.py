"""What the words of one kind of document come to, before they are put into a document of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from partkit.data.difference import Change
from partkit.data.model import ModelSpec
from partkit.data.plan import MovedNodes


@dataclass(frozen=True)
class Told:
    """The sentence that matters most, then all that differs."""

    text: str
    changes: Sequence[Change] = ()
    moved: tuple[MovedNodes, ...] = ()
    only_before: tuple[str, ...] = ()
    only_after: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def unlike_models(before: ModelSpec, after: ModelSpec) -> str | None:
    """The sentence for documents that are not of one model, whose figures say nothing of each other."""
    if _named(before) != _named(after):
        return f"They are of different models: {_named(before)} and {_named(after)}."
    digests = (before.structure_sha256, after.structure_sha256)
    if all(digests) and digests[0] != digests[1]:
        return f"They are of different structures of {before.source}: other operations, shapes or parameter names."
    return None


def _named(model: ModelSpec) -> str:
    modes = [mode for mode, is_so in (("tf32", model.tf32), ("compiled", model.compiled)) if is_so]
    return " ".join((model.source, model.dtype, *modes, *(str(spec) for spec in model.inputs)))


def said(before: object, after: object, fields: Sequence[str], names: tuple[str, str]) -> list[str]:
    """Sentences of ``fields`` that only one of both documents has, with its name."""
    told = []
    for field in fields:
        texts: tuple[Sequence[str], Sequence[str]] = getattr(before, field), getattr(after, field)
        for name, own, other in ((names[0], *texts), (names[1], *reversed(texts))):
            told += [f"only {name}: {text}" for text in own if text not in other]
    return told
