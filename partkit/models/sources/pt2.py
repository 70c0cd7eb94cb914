"""``pt2:FILE``: a program saved by ``torch.export.save``, its weights and example inputs included."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partkit.data.model import ModelSpec
from partkit.errors import FormatError, UsageError
from partkit.models.sources.base import input_overrides, refuse_batch_and_seq, target

if TYPE_CHECKING:
    from partkit.models.sources.loaded import LoadedModel


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
        if input_overrides(spec):
            raise UsageError(
                f"--input can't change {spec.source}: a saved program has the shapes it was exported with",
                hint="export it again with the shapes needed",
            )
        return spec

    def load(self, spec: ModelSpec) -> LoadedModel:
        """Read the program; it is refused if anything in it would be unpickled."""
        from partkit.models.sources.pt2_load import load_program

        self.check(spec)
        path = Path(target(spec)).expanduser()
        refuse_pickles(path)
        return load_program(spec, path)


def refuse_pickles(path: Path) -> None:
    """Raise :class:`FormatError` for an archive with members that torch would unpickle or load as a library."""
    import torch

    with zipfile.ZipFile(path) as archive:
        members = {name.partition("/")[2]: name for name in archive.namelist()}
        if "models/model.json" not in members:
            raise FormatError(
                f"{path} holds no program named 'model'", hint="save it with torch.export.save of torch 2.9 or newer"
            )
        if any(name.startswith("data/aotinductor/") for name in members):
            raise FormatError(f"{path} holds compiled code, which can't be split", hint="use torch.export.save")
        configs = [archive.read(full) for name, full in members.items() if name.endswith("_config.json")]
        samples = [archive.read(full) for name, full in members.items() if name.startswith("data/sample_inputs/")]
    pickled = [key for config in configs for key in _pickled_keys(path, config)]
    if pickled:
        raise FormatError(
            f"{path} keeps {pickled[0]!r} as a pickle, which can run code when it is read, so partkit doesn't",
            hint="export the model with plain tensors as weights",
        )
    for sample in filter(None, samples):
        _check_sample(torch, path, sample)


def _pickled_keys(path: Path, config: bytes) -> list[str]:
    try:
        payloads: dict[str, dict[str, Any]] = json.loads(config)["config"]
        return [key for key, payload in payloads.items() if payload["use_pickle"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FormatError(f"{path} is damaged: the list of its weights can't be read") from None


def _check_sample(torch: Any, path: Path, sample: bytes) -> None:
    """Refuse example inputs that only the full unpickler reads: torch.export.load would fall back to it."""
    import pickle

    try:
        torch.load(io.BytesIO(sample), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise FormatError(
            f"{path} has example inputs that can't be read safely: {str(error).splitlines()[0]}",
            hint="export with inputs made of tensors, numbers, strings, lists, tuples and dicts",
        ) from None
