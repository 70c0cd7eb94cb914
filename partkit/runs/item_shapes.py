"""What a safetensors file of items holds, by its header alone: how many items, and of which sizes; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from partkit.data.model import InputSpec, ModelSpec
from partkit.data.writing import require_file_place
from partkit.errors import FormatError, UsageError
from partkit.models.checkpoint import TORCH_NAME_BY_DTYPE, Entry, read_header


@dataclass(frozen=True)
class ItemShapes:
    """The items of a file."""

    count: int
    sizes: Mapping[str, int]
    """The batch and sequence of every item, of a model where they may vary."""
    batch: int
    """Samples in an item."""


def require_outputs(inputs: Path, outputs: Path) -> None:
    """Raise where ``outputs`` can't be written, or would replace the inputs; nothing is made."""
    require_file_place(outputs)
    if outputs.exists() and inputs.exists() and outputs.samefile(inputs):
        raise UsageError(
            f"the outputs would replace the inputs: {outputs} is the same file as {inputs}", hint="name another file"
        )


def item_shapes(path: Path, model: ModelSpec, asked: Mapping[str, int]) -> ItemShapes:
    """The items in a file for a plan's model; ``asked`` are sizes that they are said to have.

    Raises :class:`UsageError` without such a file, and :class:`FormatError` for one that holds other tensors than the
    model's inputs, or of other sizes.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path} of items", hint="make it with safetensors.torch.save_file")
    entries, names = read_header(path), [spec.name for spec in model.inputs]
    if set(entries) != set(names):
        raise FormatError(
            f"{path} holds {', '.join(sorted(entries)) or 'no tensors'}, and the plan's model takes {', '.join(names)}",
            hint="name each tensor as an input, with items as its first dimension",
        )
    sizes = _sizes(path, model, entries)
    for label, size in asked.items():
        if sizes.get(label) != size:
            raise FormatError(
                f"--{label} {size} was given, and the items in {path} have a {label} of {sizes.get(label)}",
                hint=f"leave --{label} out: the file says it",
            )
    fed = model.resized(sizes)
    for spec in fed.inputs:
        _require_fitting(path, spec, entries[spec.name])
    counts = {name: entries[name].shape[0] for name in names}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise FormatError(f"{path} has different numbers of items: {told}")
    return ItemShapes(counts[names[0]], sizes, fed.batch)


def _sizes(path: Path, model: ModelSpec, entries: Mapping[str, Entry]) -> dict[str, int]:
    """The varying sizes as the tensors' shapes have them."""
    sizes: dict[str, int] = {}
    for spec in model.inputs:
        shape = entries[spec.name].shape[1:]
        if len(shape) != len(spec.shape):
            continue  # told with the whole shape later
        for place, label in spec.dynamic.items():
            largest, size = spec.shape[int(place)], shape[int(place)]
            least = model.smallest_sizes[label]
            if not least <= size <= largest:
                raise FormatError(
                    f"{path}: tensor {spec.name!r} has a {label} of {size}, and the plan serves {least} to {largest}",
                    hint=model.hint_for(label, size),
                )
            if sizes.setdefault(label, size) != size:
                raise FormatError(
                    f"{path}: tensor {spec.name!r} has a {label} of {size}, and another has {sizes[label]}",
                    hint="give all inputs of an item the same",
                )
    return sizes


def _require_fitting(path: Path, spec: InputSpec, entry: Entry) -> None:
    dtype = TORCH_NAME_BY_DTYPE.get(entry.dtype, entry.dtype)
    if (entry.shape[1:], dtype) != (spec.shape, spec.dtype) or not entry.shape:
        needed = f"[{', '.join(['N', *map(str, spec.shape)])}]"
        raise FormatError(
            f"{path}: tensor {spec.name!r} is {dtype} of shape {list(entry.shape)}, and the plan's items are "
            f"{spec.dtype} of shape {list(spec.shape)}: {needed} is needed",
            hint="convert or pad it, or plan again with --input",
        )
