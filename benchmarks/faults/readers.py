"""Every reader of files that somebody else may have written, each with whole files that broken ones are made of."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from benchmarks.faults.mutate import mutated_bytes, mutated_json
from partkit.data import cache
from partkit.data.files import DOCUMENT_BY_KIND, load_document
from partkit.data.model import InputSpec, ModelSpec
from partkit.data.profile import Profile
from partkit.models.checkpoint import find_checkpoint, open_weights
from partkit.models.sources import load_model, parse_model
from partkit.reports.sheets import sheet_of
from partkit.reports.table import render_sheet
from partkit.runs.item_shapes import item_shapes

GOLDEN = Path(__file__).parents[2] / "tests" / "golden"
CONFIG = {
    "model_type": "bert", "architectures": ["BertModel"], "hidden_size": 8, "num_attention_heads": 2,
    "num_hidden_layers": 1, "intermediate_size": 8, "vocab_size": 16, "max_position_embeddings": 16, "dtype": "float32",
    "hidden_act": "gelu", "type_vocab_size": 2, "auto_map": {}, "text_config": {"num_hidden_layers": 1},
}  # fmt: skip
ITEMS = ModelSpec(source="bert-tiny", inputs=(InputSpec(name="x", shape=(1, 4), dtype="float32"),))


@dataclass(frozen=True)
class Reader:
    """One way that files come in."""

    read: Callable[[Path], object]
    """Reads what :attr:`write` left in the folder."""
    write: Callable[[Path, random.Random], None]
    """Puts one broken file, or a folder of them, there."""


def _document(kind: str) -> Reader:
    text = (GOLDEN / f"{kind}.v1.json").read_text(encoding="utf-8")

    def read(folder: Path) -> None:
        render_sheet(sheet_of(load_document(folder / "x.json")), width=80)

    return Reader(read, lambda folder, draw: _put(folder / "x.json", _broken(text, draw)))


def _broken(text: str, draw: random.Random) -> bytes:
    return mutated_json(text, draw) if draw.random() < 0.8 else mutated_bytes(text.encode(), draw)


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _cache() -> Reader:
    text = (GOLDEN / "profile.v1.json").read_text(encoding="utf-8")
    request, sha = {"fuzz": 1}, Profile.load(GOLDEN / "profile.v1.json").sha256

    def write(_: Path, draw: random.Random) -> None:
        for path in (cache._request_path(Profile, request), cache._profile_path(sha)):
            _put(path, _broken(text, draw))

    return Reader(lambda _: (cache.find_kept(Profile, request), cache.find_profile(sha)), write)


def _with_header(whole: bytes, draw: random.Random) -> bytes:
    """A safetensors file with a broken header that says its true length, or broken anywhere."""
    if draw.random() < 0.3:
        return mutated_bytes(whole, draw)
    length = int.from_bytes(whole[:8], "little")
    header = mutated_json(whole[8 : 8 + length].decode(), draw)
    return len(header).to_bytes(8, "little") + header + whole[8 + length :]


def _safetensors() -> Reader:
    whole = save({"a": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.int64), "c": torch.zeros(())})

    def read(folder: Path) -> None:
        checkpoint = open_weights(folder / "x.safetensors")
        for key, entry in checkpoint.entries.items():
            if entry.num_bytes < 1 << 20:
                checkpoint.read(key)

    return Reader(read, lambda folder, draw: _put(folder / "x.safetensors", _with_header(whole, draw)))


def _item_files() -> Reader:
    whole = save({"x": torch.zeros(3, 1, 4)})
    return Reader(
        lambda folder: item_shapes(folder / "in.safetensors", ITEMS, {}),
        lambda folder, draw: _put(folder / "in.safetensors", _with_header(whole, draw)),
    )


def _hf_folder(*, builds: bool) -> Reader:
    config, weights = json.dumps(CONFIG), save({"embeddings.word_embeddings.weight": torch.zeros(16, 8)})
    index = json.dumps({"metadata": {}, "weight_map": {"embeddings.word_embeddings.weight": "one.safetensors"}})

    def write(folder: Path, draw: random.Random) -> None:
        _put(folder / "config.json", _broken(config, draw) if draw.random() < 0.7 else config.encode())
        _put(folder / "one.safetensors", _with_header(weights, draw) if draw.random() < 0.3 else weights)
        if not builds:
            _put(
                folder / "model.safetensors.index.json", _broken(index, draw) if draw.random() < 0.7 else index.encode()
            )

    def read(folder: Path) -> None:
        spec = parse_model(f"hf:{folder}")
        find_checkpoint(folder)
        if builds:
            load_model(spec, allow_code=False)

    return Reader(read, write)


def _archive() -> dict[str, bytes]:
    """The members of a saved program."""
    buffer = io.BytesIO()
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval()
    torch.export.save(torch.export.export(module, (torch.ones(1, 4),)), buffer)
    with zipfile.ZipFile(buffer) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def _pt2() -> Reader:
    members = _archive()
    texts = [name for name in members if name.endswith(".json")]

    def write(folder: Path, draw: random.Random) -> None:
        given = dict(members)
        name = draw.choice(texts if draw.random() < 0.8 else list(members))
        given[name] = _broken(given[name].decode(), draw) if name in texts else mutated_bytes(given[name], draw)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for each, data in given.items():
                archive.writestr(each, data)
        whole = buffer.getvalue()
        _put(folder / "x.pt2", mutated_bytes(whole, draw) if draw.random() < 0.2 else whole)

    def read(folder: Path) -> None:
        load_model(parse_model(f"pt2:{folder / 'x.pt2'}"), allow_code=False)

    return Reader(read, write)


READERS: dict[str, Callable[[], Reader]] = {
    **{kind: lambda kind=kind: _document(kind) for kind in DOCUMENT_BY_KIND if (GOLDEN / f"{kind}.v1.json").exists()},  # type: ignore[misc]
    "cache": _cache,
    "safetensors": _safetensors,
    "item files": _item_files,
    "hf folder": lambda: _hf_folder(builds=False),
    "hf model": lambda: _hf_folder(builds=True),
    "pt2": _pt2,
}
"""Documents are also shown; ``hf folder`` reads config, index and headers, and ``hf model`` builds the model too."""


def corpus_sizes() -> dict[str, Any]:
    """The kinds that have a whole document to begin with, and those that have none."""
    return {"readers": len(READERS), "without": [kind for kind in DOCUMENT_BY_KIND if kind not in READERS]}
