"""What differs between two documents of one kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from partkit.data.document import Document, Measured, Record
from partkit.data.plan import MovedNodes

Scalar = str | int | float | bool | None
Unit = Literal["", "s", "bytes", "bytes/s", "samples/s", "share", "percent"]


class Change(Record):
    """One value that is not the same in both; None where a document has it not."""

    path: str
    """Where it stands in the files: lists by what tells their items apart, ``rows[pipeline].samples_per_s``."""
    what: str
    """The same for people."""
    unit: Unit = ""
    """Of both values; a share is of 1, empty is a number of things, a name or a text."""
    before: Scalar | tuple[Scalar, ...] = None
    after: Scalar | tuple[Scalar, ...] = None
    change: Measured | None = None
    """``after`` over ``before``, less one; None where that says nothing."""


class Difference(Document):
    """``after`` against ``before``: two plans, profiles, clusters, runs or comparisons."""

    most_items: ClassVar[Mapping[str, int]] = {"changes": 200_000}

    schema_version: Literal[1] = 1
    kind: Literal["difference"] = "difference"
    of: str
    """The kind of both."""
    before: str
    after: str
    """Names that the reader knows them by: their files."""
    same: bool
    """Nothing differs but when, where and by which command they were made."""
    text: str = ""
    """What matters most, in words."""
    changes: tuple[Change, ...] = ()
    moved: tuple[MovedNodes, ...] = ()
    """Of plans: nodes of both that stand in another stage."""
    only_before: tuple[str, ...] = ()
    """Nodes, or executors of a comparison, that only this one has."""
    only_after: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What else changed and what to bear in mind, in words."""
