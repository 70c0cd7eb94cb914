"""Safetensors checkpoints: which tensors there are, checked without reading them, and single ones read by mmap."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partkit.data.reading import read_json, shown
from partkit.errors import FormatError, WeightsError

if TYPE_CHECKING:
    import torch

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"
_LARGEST_HEADER = 100_000_000
"""What safetensors itself allows, in bytes."""
_BITS_BY_DTYPE = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
}
"""The dtypes whose data length is checked against the shape; those of less than a byte are left to safetensors."""
_KNOWN_DTYPES = {*_BITS_BY_DTYPE, "F4", "F6_E2M3", "F6_E3M2"}
_MOST_TENSORS = 1_000_000
_LONGEST_NAME = 255
"""Characters of a file's name, on the systems that there are."""

TORCH_NAME_BY_DTYPE = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "C64": "complex64",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
"""The stored dtypes that :meth:`Checkpoint.read_as` knows."""
_PIECE_BYTES = 2**20
"""Read and cast at a time: a multiple of every dtype's size, and no large hole in the heap once it is freed."""


@dataclass(frozen=True)
class Entry:
    """One tensor of a checkpoint file."""

    file: Path
    shape: tuple[int, ...]
    dtype: str
    """As safetensors names it: F32, BF16, I64, ..."""
    start: int
    """Where its data begin in the file, in bytes."""
    num_bytes: int


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of one or several safetensors files, by key."""

    path: Path
    """The one file, or the index of several."""
    entries: Mapping[str, Entry]
    _handles: dict[Path, Any] = field(default_factory=dict, repr=False, compare=False)
    """Open files: a cache, so that reading many tensors maps each file once."""

    def read_as(self, key: str, dtype: torch.dtype) -> torch.Tensor:
        """One tensor on CPU in memory of its own, cast piece by piece: no page of the file stays mapped.

        Raises :class:`WeightsError` for damage.
        """
        import torch

        entry = self.entries[key]
        stored = getattr(torch, TORCH_NAME_BY_DTYPE[entry.dtype])
        made = torch.empty(entry.shape, dtype=dtype)
        flat, done = made.view(-1), 0
        piece = torch.empty(min(_PIECE_BYTES, entry.num_bytes), dtype=torch.uint8)
        try:
            with entry.file.open("rb") as stream:
                stream.seek(entry.start)
                while done < flat.numel():
                    part = piece[: (flat.numel() - done) * stored.itemsize]
                    if stream.readinto(part.numpy().data) < part.numel():
                        raise WeightsError(f"{entry.file} is truncated: tensor {key!r} can't be read whole")
                    values = part.view(stored)
                    flat[done : done + values.numel()] = values
                    done += values.numel()
        except OSError as error:
            raise WeightsError(f"{entry.file}: tensor {key!r} can't be read: {error.strerror}") from None
        return made

    def read(self, key: str) -> torch.Tensor:
        """One tensor on CPU, mapped: only its own pages are read, and they belong to the page cache.

        Raises :class:`WeightsError` for damage.
        """
        from safetensors import SafetensorError, safe_open

        entry = self.entries[key]
        try:
            if entry.file not in self._handles:
                self._handles[entry.file] = safe_open(entry.file, framework="pt", device="cpu")
            tensor: torch.Tensor = self._handles[entry.file].get_tensor(key)
        except (OSError, SafetensorError) as error:
            raise WeightsError(f"{entry.file}: tensor {key!r} can't be read: {error}") from None
        return tensor


def find_checkpoint(folder: Path) -> Checkpoint | None:
    """The safetensors files of a model's folder, every header checked; None when it has no weights at all.

    Raises :class:`WeightsError` for damaged or missing files, and for a folder that has only pickled weights.
    """
    if (folder / INDEX_NAME).exists():
        return Checkpoint(folder / INDEX_NAME, _read_shards(folder / INDEX_NAME))
    if (folder / SINGLE_NAME).exists():
        return Checkpoint(folder / SINGLE_NAME, read_header(folder / SINGLE_NAME))
    pickles = sorted([*folder.glob("pytorch_model*.bin"), *folder.glob("pytorch_model*.bin.index.json")])
    if pickles:
        raise WeightsError(
            f"{pickles[0]} is a pickle, which can run code when it is read, so partkit doesn't",
            hint="convert it to safetensors: load the model in transformers and call save_pretrained",
        )
    return None


def open_weights(path: Path) -> Checkpoint:
    """The safetensors file at ``path``, or all those of a folder, every header checked.

    Raises :class:`WeightsError` where there is none, for damage, and for a name that two files have.
    """
    if path.is_dir() and (path / INDEX_NAME).exists():
        return Checkpoint(path / INDEX_NAME, _read_shards(path / INDEX_NAME))
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path] if path.is_file() else []
    if not files:
        raise WeightsError(
            f"there are no weights at {path}", hint="make a file with safetensors.torch.save_model(module, file)"
        )
    entries: dict[str, Entry] = {}
    for file in files:
        read = read_header(file)
        for key in read.keys() & entries.keys():
            raise WeightsError(f"{path} has {key!r} twice, in {entries[key].file.name} and {file.name}")
        entries |= read
    return Checkpoint(path, entries)


def read_header(file: Path) -> dict[str, Entry]:
    """The entries of one safetensors file; raises :class:`WeightsError` when it is truncated or damaged."""
    try:
        if file.exists() and not file.is_file():  # a pipe would be waited for
            raise WeightsError(f"{file} is a folder, a pipe or a device, and a safetensors file is needed")
        size = file.stat().st_size
        with file.open("rb") as stream:
            header_size = int.from_bytes(stream.read(8), "little")
            if size < 8 or header_size > min(size - 8, _LARGEST_HEADER):
                raise WeightsError(f"{file} is truncated: it has {size} bytes and not even its whole header")
            header = json.loads(stream.read(header_size))
        assert isinstance(header, dict)
        assert len(header) <= _MOST_TENSORS
        header.pop("__metadata__", None)
        data_size = size - 8 - header_size
        for key, item in header.items():
            _check_extent(file, key, item, data_size)
        return {key: _entry(file, item, 8 + header_size) for key, item in header.items()}
    except OSError as error:
        raise WeightsError(f"{file} can't be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError):
        raise WeightsError(f"{file} isn't a safetensors file: its header can't be read") from None


def _entry(file: Path, item: Mapping[str, Any], data_start: int) -> Entry:
    start, end = item["data_offsets"]
    return Entry(file, tuple(item["shape"]), item["dtype"], data_start + start, end - start)


def _check_extent(file: Path, key: str, item: Mapping[str, Any], data_size: int) -> None:
    start, end = item["data_offsets"]
    sizes = [start, end, *item["shape"]]
    if not all(isinstance(size, int) and 0 <= size < 1 << 63 for size in sizes) or start > end:
        raise WeightsError(
            f"{file} is damaged: tensor {shown(key)} has the shape {shown(item['shape'])} and lies at bytes "
            f"{shown(start)} to {shown(end)}"
        )
    if not isinstance(item["dtype"], str) or item["dtype"] not in _KNOWN_DTYPES:
        raise WeightsError(
            f"{file}: tensor {shown(key)} has the dtype {shown(item['dtype'])}, which safetensors does not know",
            hint="write the file again with safetensors.torch.save_file",
        )
    if end > data_size:
        raise WeightsError(
            f"{file} is truncated: tensor {shown(key)} ends at byte {end} of the data, which has {data_size} bytes",
            hint="copy or download the file again",
        )
    bits = _BITS_BY_DTYPE.get(item["dtype"])
    needed = None if bits is None else bits // 8 * math.prod(item["shape"])
    if needed is not None and end - start != needed:
        raise WeightsError(
            f"{file} is damaged: tensor {shown(key)} has {end - start} bytes, and its shape {shown(item['shape'])} of "
            f"{item['dtype']} takes {needed}"
        )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with characters that no name has
        return False


def _read_shards(index: Path) -> dict[str, Entry]:
    folder = index.parent
    try:
        file_by_key = read_json(index)["weight_map"]
        names = sorted(set(file_by_key.values()))
        assert all(isinstance(name, str) for name in names)
    except FormatError as error:
        raise WeightsError(f"{index} isn't a safetensors index: {error.message}") from None
    except (KeyError, TypeError, AttributeError, AssertionError) as error:
        raise WeightsError(f"{index} isn't a safetensors index: {error!r}") from None
    entries: dict[str, Entry] = {}
    for name in names:
        if Path(name).name != name:
            raise WeightsError(f"{index} names the file {shown(name)}, which isn't in the same folder")
        if not _exists(folder / name):
            raise WeightsError(
                f"{folder}/{name[:_LONGEST_NAME]} is missing, and {index.name} names it",
                hint="download the model again",
            )
        entries |= read_header(folder / name)
    for key, name in file_by_key.items():
        if key not in entries or entries[key].file.name != name:
            raise WeightsError(f"{folder / name} has no tensor {shown(key)}, which {index.name} says is there")
    return entries
