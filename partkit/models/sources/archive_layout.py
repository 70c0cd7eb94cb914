"""Zip files that torch reads: which members may be there, and that every reader sees the same ones.

torch reads zip files with its own code, and two readers of one file can be made to see different members. So a file is
refused unless its members are stored plainly, once each and side by side, which leaves nothing to disagree about, and
unless torch's own reader lists the same members at the same places.
"""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Sequence
from typing import IO, Any

from partkit.errors import FormatError

_LOCAL_HEADER = struct.Struct("<26xHH")
"""Of a member's local header: the lengths of the name and of the extra field that precede its data."""


def read_members(
    file: IO[bytes], where: str, allowed: Sequence[re.Pattern[str]], needed: Sequence[str]
) -> dict[str, zipfile.ZipInfo]:
    """The members by name without the root folder; ``file`` is left open, and nothing of it is unpacked.

    Raises :class:`FormatError` where one that is needed is missing, for one that is not allowed, compressed,
    encrypted, there twice or overlapping another, and where torch would read other members than these.
    """
    infos = _listed(file, where)
    members = {info.filename.partition("/")[2]: info for info in infos}
    for name in needed:
        if name not in members:
            raise FormatError(f"{where} holds no {name!r}", hint="save it with torch.export.save of torch 2.9 or newer")
    root = infos[0].filename.partition("/")[0]
    places: list[tuple[str, int, int]] = []
    for info in infos:
        folder, _, name = info.filename.partition("/")
        if folder != root or not any(pattern.fullmatch(name) for pattern in allowed):
            raise FormatError(
                f"{where} holds {info.filename!r}, which partkit doesn't read: it could run code",
                hint="save the program again with torch.export.save of torch 2.9 or newer",
            )
        if members[name] is not info:
            raise FormatError(f"{where} holds {name!r} twice, so that readers may see different ones")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & 1:
            raise FormatError(
                f"{where} holds {name!r} compressed, which torch.export.save doesn't do: it could unpack to any size",
                hint="save the program again with torch.export.save",
            )
        places.append((name, info.file_size, data_offset(file, info)))
    _refuse_overlaps(where, places)
    if sorted(places) != sorted(_seen_by_torch(file, where)):
        raise FormatError(f"{where} is ambiguous: torch and Python find different members in it")
    return members


def read_member(file: IO[bytes], info: zipfile.ZipInfo) -> bytes:
    """The bytes of a member that :func:`read_members` has checked."""
    file.seek(data_offset(file, info))
    content = file.read(info.file_size)
    file.seek(0)
    return content


def _listed(file: IO[bytes], where: str) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise FormatError(f"{where} is damaged: it can't be read as a zip file ({error})") from None


def _seen_by_torch(file: IO[bytes], where: str) -> list[tuple[str, int, int]]:
    """Name, size and place of each member, as the reader sees them that torch.export.load and torch.load use."""
    import torch

    file.seek(0)
    try:
        reader: Any = torch._C.PyTorchFileReader(file)
        return [
            (name, reader.get_record_size(name), reader.get_record_offset(name)) for name in reader.get_all_records()
        ]
    except (RuntimeError, UnicodeDecodeError) as error:
        raise FormatError(f"{where} is damaged: torch can't list it ({str(error).splitlines()[0]})") from None
    finally:
        file.seek(0)


def data_offset(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin in the file."""
    header = b""
    if info.header_offset >= 0:  # it is not where the directory says that it is longer than the file
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size:
        raise FormatError(f"the archive is damaged: {info.filename!r} lies outside it")
    name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
    return int(info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes)


def _refuse_overlaps(where: str, members: Sequence[tuple[str, int, int]]) -> None:
    end = 0
    for name, num_bytes, offset in sorted(members, key=lambda member: member[2]):
        if offset < end:
            raise FormatError(f"{where} is damaged: {name!r} overlaps another member")
        end = offset + num_bytes
