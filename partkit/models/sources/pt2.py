"""``pt2:FILE``: a program saved by ``torch.export.save``, its weights and example inputs included."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from partkit.data.model import ModelSpec
from partkit.data.units import format_bytes
from partkit.errors import FormatError, UsageError
from partkit.models.sources.archive_layout import read_member, read_members
from partkit.models.sources.archive_program import check_outputs, check_program
from partkit.models.sources.base import dynamic_option, input_overrides, refuse_batch_and_seq, target

if TYPE_CHECKING:
    from partkit.models.sources.loaded import LoadedModel

_PROGRAM, _SAMPLES, _STRUCTURE = "models/model.json", "data/sample_inputs/model.pt", "extra/partkit/outputs.json"
_CONFIGS = {
    "data/weights/model_weights_config.json": ("data/weights/", "weight_"),
    "data/constants/model_constants_config.json": ("data/constants/", "tensor_"),
}
"""Lists of tensors, with the folder and the first part of the names of the members that hold their bytes."""
_ZIP_MEMBERS = (
    r"version",
    r"byteorder",
    r"\.data/(version|serialization_id)",
    r"\.format_version",
    r"\.storage_alignment",
)
_MEMBERS = tuple(
    re.compile(text)
    for text in (
        *(re.escape(name) for name in (_PROGRAM, _SAMPLES, *_CONFIGS)),
        *(folder + prefix + r"\d+" for folder, prefix in _CONFIGS.values()),
        *(r"extra/.*", r"archive_format", r"archive_version", *_ZIP_MEMBERS),
    )
)
"""All that torch.export.save writes of plain tensors; neither its legacy members nor compiled code."""
_SAMPLE_MEMBERS = tuple(re.compile(text) for text in (r"data\.pkl", r"data/\d+", *_ZIP_MEMBERS))
_LARGEST_TEXT_BYTES = 256 << 20


class ArchiveSource:
    """A saved program is finished: its shapes, dtypes and weights are those it was exported with."""

    def check(self, spec: ModelSpec) -> ModelSpec:
        """Raise :class:`UsageError` without such a file, and for options that can't change a saved program."""
        path = Path(target(spec)).expanduser()
        if not path.is_file():
            raise UsageError(f"there is no file {path}", hint="make one with torch.export.save(program, path)")
        if not zipfile.is_zipfile(path):
            raise FormatError(f"{path} isn't a pt2 archive, or it is cut short: it can't be read as a zip file")
        refuse_batch_and_seq(spec)
        if dynamic_option(spec):
            raise UsageError(
                f"--dynamic {dynamic_option(spec)[0]} can't change {spec.source}: a saved program has the sizes that "
                "vary which it was exported with",
                hint="export it with dynamic_shapes; --dynamic INPUT.DIM=NAME gives such a size a name",
            )
        if input_overrides(spec):
            raise UsageError(
                f"--input can't change {spec.source}: a saved program has the shapes it was exported with",
                hint="export it again with the shapes needed",
            )
        return spec

    def load(self, spec: ModelSpec) -> LoadedModel:
        """Read the program; it is refused if torch would run anything of it but its own operators."""
        from partkit.models.sources.pt2_load import load_program

        self.check(spec)
        path = Path(target(spec)).expanduser()
        with path.open("rb") as file:  # what is checked is what is read, whoever renames what meanwhile
            check_archive(path, file)
            return load_program(spec, path, file)


def check_archive(path: Path, file: IO[bytes]) -> None:
    """Raise :class:`FormatError` for an archive that holds anything that could run code or unpack to any size."""
    members = read_members(file, str(path), _MEMBERS, (_PROGRAM, *_CONFIGS, _SAMPLES))
    for name in (_PROGRAM, *_CONFIGS, _STRUCTURE):
        if name in members and members[name].file_size > _LARGEST_TEXT_BYTES:
            raise FormatError(f"{path} is damaged: {name!r} has {format_bytes(members[name].file_size)}")
    for config, (folder, prefix) in _CONFIGS.items():
        sizes = {name.removeprefix(folder): info.file_size for name, info in members.items() if name.startswith(folder)}
        _check_tensors(path, read_member(file, members[config]), prefix, sizes)
    check_program(str(path), read_member(file, members[_PROGRAM]))
    if _STRUCTURE in members and members[_STRUCTURE].file_size:
        check_outputs(str(path), read_member(file, members[_STRUCTURE]).decode())
    _check_sample(path, read_member(file, members[_SAMPLES]))


def _check_tensors(path: Path, config: bytes, prefix: str, sizes: Mapping[str, int]) -> None:
    """Refuse tensors that torch would unpickle, whatever the list of tensors says of them."""
    try:
        payloads: dict[str, dict[str, Any]] = json.loads(config)["config"]
        for key, payload in payloads.items():
            name, num_bytes = payload["path_name"], sizes.get(payload["path_name"])
            if payload["use_pickle"] is not False or re.fullmatch(prefix + r"\d+", name) is None:
                raise FormatError(
                    f"{path} keeps {key!r} as a pickle, which can run code when it is read, so partkit doesn't",
                    hint="export the model with plain tensors as weights",
                )
            if num_bytes is None:
                raise FormatError(f"{path} is damaged: {name!r} with the values of {key!r} is missing")
            if num_bytes == 0 and all(size["as_int"] for size in payload["tensor_meta"]["sizes"]):
                raise FormatError(f"{path} has no values for {key!r}", hint="export the model with real weights")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FormatError(f"{path} is damaged: the list of its weights can't be read") from None


def _check_sample(path: Path, sample: bytes) -> None:
    """Refuse example inputs that only the full unpickler reads: torch.export.load would fall back to it."""
    import torch

    if not sample:
        return
    read_members(io.BytesIO(sample), f"the example inputs of {path}", _SAMPLE_MEMBERS, ("data.pkl",))
    try:
        torch.load(io.BytesIO(sample), weights_only=True)
    except Exception as error:  # a hostile pickle fails anywhere, and after any fault torch would unpickle it all
        raise FormatError(
            f"{path} has example inputs that can't be read safely: {str(error).splitlines()[0]}",
            hint="export with inputs made of tensors, numbers, strings, lists, tuples and dicts",
        ) from error
