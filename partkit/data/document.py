"""Reading and writing partkit's JSON files: validated, atomic, with every fault named by its path."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, PlainSerializer, SerializationInfo, ValidationError
from pydantic_core import ErrorDetails

from partkit.data.printable import escaped_json
from partkit.data.reading import read_json, shown
from partkit.data.units import format_count, significant
from partkit.data.writing import write_text_atomically
from partkit.errors import FormatError

SCHEMA_VERSION = 1


def _rounded(value: float, info: SerializationInfo) -> float:
    digits = (info.context or {}).get(_DIGITS)
    return value if digits is None else significant(value, digits)


_DIGITS = "digits"

Measured = Annotated[float, PlainSerializer(_rounded, return_type=float)]
"""A float that was measured or predicted: a document writes it with its ``digits``. Every other number stays exact."""


class Record(BaseModel):
    """A frozen piece of a document; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Document(Record):
    """A whole file: has ``schema_version`` and ``kind``, reads and writes itself."""

    digits: ClassVar[int] = 6
    """Significant digits that measured and predicted floats are written with."""

    most_items: ClassVar[Mapping[str, int]] = {}
    """Most items of lists that work grows with, by the list's path; more are refused before they are looked at."""

    def to_data(self) -> dict[str, Any]:
        """Plain JSON data in the field order of the format, :data:`Measured` floats rounded."""
        return self.model_dump(mode="json", context={_DIGITS: self.digits if self._is_measured() else None})

    def _is_measured(self) -> bool:
        """False where the figures are somebody's own, and so stay as they were given."""
        return True

    def to_json(self) -> str:
        """The file's text: two-space indent, fixed key order, a newline at the end."""
        return escaped_json(json.dumps(self.to_data(), indent=2, ensure_ascii=False)) + "\n"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file whole or not at all (temporary name, then rename)."""
        return write_text_atomically(Path(path), self.to_json())

    @classmethod
    def from_data(cls, data: object, *, where: str) -> Self:
        """Check and build a document from JSON data; ``where`` names it in errors.

        Raises :class:`FormatError` that lists every fault with the path of the bad value.
        """
        kind = cls.model_fields["kind"].default
        if not isinstance(data, dict):
            raise FormatError(f"{where} holds a JSON {type(data).__name__}, not a {kind} object")
        _check_header(data, kind, where)
        _check_lengths(data, cls.most_items, where)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            faults = _all_faults(error, data)
            raise FormatError(f"{where} is not a valid {kind}: {faults}", hint="correct the file there") from None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read and check a file. Raises :class:`FormatError` naming the file and every fault."""
        return cls.from_data(read_json(path), where=str(path))


def digest(data: object) -> str:
    """SHA-256 of JSON data in canonical form, as 64 hexadecimal digits."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_header(data: dict[str, Any], kind: str, where: str) -> None:
    if data.get("kind") != kind:
        raise FormatError(f"{where} is of kind {shown(data.get('kind'))}, where a {kind!r} is needed")
    version = data.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise FormatError(f"{where} has schema_version {shown(version)}, which is not a version number")
    if version > SCHEMA_VERSION:
        raise FormatError(
            f"{where} has schema_version {version}, and this partkit reads up to {SCHEMA_VERSION}",
            hint="upgrade partkit, or make the file again with this one",
        )


def _check_lengths(data: dict[str, Any], most_items: Mapping[str, int], where: str) -> None:
    for path, most in most_items.items():
        found: Any = data
        for name in path.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, list) and len(found) > most:
            raise FormatError(f"{where} has {format_count(len(found))} {path}, and {format_count(most)} is the most")


_MOST_FAULTS = 8
"""Faults of a file that an error names; of more it tells the number."""
_MOST_LISTED = 50_000
"""Faults that are looked at: a list of all takes a kilobyte for each."""
_MOST_WORDS = 300
"""Characters that it gives to one."""


def _all_faults(error: ValidationError, data: dict[str, Any]) -> str:
    if error.error_count() > _MOST_LISTED:
        return f"{format_count(error.error_count())} values are wrong or missing"
    faults = error.errors(include_url=False, include_context=False)
    inner = {fault["loc"][:length] for fault in faults for length in range(len(fault["loc"]))}
    told = [fault for fault in faults if not (fault["type"] == "too_short" and fault["loc"] in inner)]
    words = [_told(fault, data) for fault in told[:_MOST_FAULTS]]
    more = len(told) - len(words)
    return "; ".join([*words, *([f"and {format_count(more)} more"] if more else [])])


def _told(fault: ErrorDetails, data: dict[str, Any]) -> str:
    """Where the fault is, what is wrong, and the value that is there."""
    message = fault["msg"].removeprefix("Value error, ")
    value = fault.get("input")
    if message.startswith("Input should") and (value is None or isinstance(value, str | int | float)):
        message += f", not {shown(value)}"
    where = _path(fault["loc"])
    return _cut(f"{where}{_name_at(fault['loc'], data)}: {message}" if where else message)


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_WORDS else f"{text[:_MOST_WORDS]}..."


def _name_at(location: tuple[int | str, ...], data: Any) -> str:
    """The name of the innermost thing with one that the place lies in, since nobody counts to ``nodes[417]``."""
    name = ""
    for part in location:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            break
        if isinstance(data, dict) and isinstance(data.get("name"), str):
            name = f" of {shown(data['name'])}"
    return name


def _path(location: tuple[int | str, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.lstrip(".")
