"""Items in safetensors files: tensors named as the model's inputs and outputs, with items as the first dimension.

data.safetensors    input_ids [N, 1, 128]            item i is input_ids[i], the shape that the plan is for
out.safetensors     logits    [N, 1, 128, 21128]     output i, under its path in what the model returns
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch

from partkit.data.progress import Progress, silent
from partkit.errors import FormatError, UsageError
from partkit.models.checkpoint import TORCH_NAME_BY_DTYPE, Entry, read_header
from partkit.runs.open_pipeline import Pipeline
from partkit.stages.cut import Computed
from partkit.transport.item_form import ItemForm

_STORED_NAME = {name: stored for stored, name in TORCH_NAME_BY_DTYPE.items()}


def map_file(pipeline: Pipeline, inputs: Path, outputs: Path, progress: Progress | None = None) -> int:
    """Take every item of one file through a pipeline and write the outputs to another; returns how many.

    Items are read and written one by one, so neither file must fit into memory. ``outputs`` appears whole or not
    at all. Raises :class:`FormatError` for a file that holds other tensors than the model's inputs.
    """
    form, tell = pipeline.form, progress or silent
    count = _count(form, inputs, read_header(inputs))
    with _OutputFile.create(outputs, form, count) as file:
        for done, result in enumerate(pipeline.map_flat(_items(inputs, form, count)), start=1):
            file.write(done - 1, result)
            tell("Running items", done, count)
    return count


def _count(form: ItemForm, path: Path, entries: dict[str, Entry]) -> int:
    names = [spec.name for spec in form.specs]
    if set(entries) != set(names):
        raise FormatError(
            f"{path} holds {', '.join(sorted(entries)) or 'no tensors'}, and the plan's model takes {', '.join(names)}",
            hint="name each tensor as an input, with items as its first dimension",
        )
    for spec in form.specs:
        entry = entries[spec.name]
        dtype = TORCH_NAME_BY_DTYPE.get(entry.dtype, entry.dtype)
        if (entry.shape[1:], dtype) != (spec.shape, spec.dtype) or not entry.shape:
            raise FormatError(
                f"{path}: tensor {spec.name!r} is {dtype} of shape {list(entry.shape)}, and the plan's items are "
                f"{spec.dtype} of shape {list(spec.shape)}: {['items', *spec.shape]} is needed".replace("'items'", "N"),
                hint="convert or pad it, or plan again with --input",
            )
    counts = {name: entries[name].shape[0] for name in names}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise FormatError(f"{path} has different numbers of items: {told}")
    return counts[names[0]]


def _items(path: Path, form: ItemForm, count: int) -> Iterator[dict[str, torch.Tensor]]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        slices = {spec.name: file.get_slice(spec.name) for spec in form.specs}
        for item in range(count):
            yield {name: each[item] for name, each in slices.items()}


class _OutputFile:
    """A safetensors file with room for all outputs, filled item by item."""

    def __init__(self, file: BinaryIO, form: ItemForm, count: int) -> None:
        self._file, self._form = file, form
        names, header, end = form.output_names(), dict[str, Any](), 0
        self._starts: dict[str, int] = {}
        for value in form.outputs:
            dtype = str(value.dtype).removeprefix("torch.")
            if dtype not in _STORED_NAME:
                raise UsageError(f"output {names[value.name]!r} is {dtype}, which safetensors files cannot hold")
            begin, end = end, end + count * value.num_bytes
            self._starts[value.name] = begin
            shape = [count, *value.shape]
            header[names[value.name]] = {"dtype": _STORED_NAME[dtype], "shape": shape, "data_offsets": [begin, end]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self._data_start = 8 + len(text)
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(self._data_start + end)

    @classmethod
    @contextmanager
    def create(cls, path: Path, form: ItemForm, count: int) -> Iterator[_OutputFile]:
        """Open a temporary file beside ``path`` that takes its name at the end, unless something is raised."""
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                yield cls(file, form, count)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)

    def write(self, item: int, result: list[Any]) -> None:
        """Put one item's flat outputs in their place."""
        pairs = zip(self._form.leaves, result, strict=True)
        leaves = {leaf.name: value for leaf, value in pairs if isinstance(leaf, Computed)}
        for value in self._form.outputs:
            data = leaves[value.name].contiguous().reshape(math.prod(value.shape)).view(torch.uint8)
            self._file.seek(self._data_start + self._starts[value.name] + item * value.num_bytes)
            self._file.write(data.numpy().data)
