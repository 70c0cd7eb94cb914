"""Reading and writing partkit's JSON files: validated, atomic, with every fault named by its path."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, PlainSerializer, SerializationInfo, ValidationError
from pydantic_core import ErrorDetails

from partkit.data.printable import escaped_json
from partkit.data.units import significant
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
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            faults = _all_faults(error, data)
            raise FormatError(f"{where} is not a valid {kind}: {faults}", hint="correct the file there") from None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read and check a file. Raises :class:`FormatError` naming the file and every fault."""
        return cls.from_data(read_json(path), where=str(path))


def read_json(path: str | os.PathLike[str]) -> Any:
    """The JSON value in a file; raises :class:`FormatError` with line and column when it is not JSON."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FormatError(f"there is no file {path}", hint="check the path, or make it with 'partkit plan'") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} cannot be read: {error}") from None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        ended_early = error.pos >= len(text.rstrip())
        what = "is cut short" if ended_early and text.strip() else "is not JSON"
        raise FormatError(
            f"{path} {what}: {error.msg} at line {error.lineno}, column {error.colno}",
            hint="make it again with 'partkit plan' or 'partkit profile'",
        ) from None


def digest(data: object) -> str:
    """SHA-256 of JSON data in canonical form, as 64 hexadecimal digits."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_header(data: dict[str, Any], kind: str, where: str) -> None:
    if data.get("kind") != kind:
        raise FormatError(f"{where} is of kind {data.get('kind')!r}, where a {kind!r} is needed")
    version = data.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise FormatError(f"{where} has schema_version {version!r}, which is not a version number")
    if version > SCHEMA_VERSION:
        raise FormatError(
            f"{where} has schema_version {version}, and this partkit reads up to {SCHEMA_VERSION}",
            hint="upgrade partkit, or make the file again with this one",
        )


def _all_faults(error: ValidationError, data: dict[str, Any]) -> str:
    faults = error.errors(include_url=False)
    places = [fault["loc"] for fault in faults]
    return "; ".join(_told(fault, data) for fault in faults if not _follows(fault, places))


def _told(fault: ErrorDetails, data: dict[str, Any]) -> str:
    """Where the fault is, what is wrong, and the value that is there."""
    message = fault["msg"].removeprefix("Value error, ")
    value = fault.get("input")
    if message.startswith("Input should") and (value is None or isinstance(value, str | int | float)):
        message += f", not {value!r}"
    where = _path(fault["loc"])
    return f"{where}{_name_at(fault['loc'], data)}: {message}" if where else message


def _name_at(location: tuple[int | str, ...], data: Any) -> str:
    """The name of the innermost thing with one that the place lies in, since nobody counts to ``nodes[417]``."""
    name = ""
    for part in location:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            break
        if isinstance(data, dict) and isinstance(data.get("name"), str):
            name = f" of {data['name']!r}"
    return name


def _follows(fault: ErrorDetails, places: list[tuple[int | str, ...]]) -> bool:
    """True for a list that is too short only because its own items are faulty."""
    place = fault["loc"]
    inside = any(len(other) > len(place) and other[: len(place)] == place for other in places)
    return fault["type"] == "too_short" and inside


def _path(location: tuple[int | str, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.lstrip(".")
