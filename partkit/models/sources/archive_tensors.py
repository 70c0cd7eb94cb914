"""A saved program's tensors by name, mapped where they lie in the archive: nothing of them is read until it is used.

torch's own reader copies every tensor into memory. So it is given the archive without their bytes, and makes tensors
on meta; those are then replaced by views of the mapped file:

    archive   model.json | config | weight_0 ........ | weight_1 ........ | sample inputs
    for torch model.json | config'|                                      | sample inputs     (in memory)
    mapped                         ^ program.state_dict[name]

A rank that reads its stage's tensors alone touches only their pages, which belong to the page cache.
"""

from __future__ import annotations

import io
import json
import mmap
import zipfile
from collections.abc import Mapping
from typing import IO, Any

import torch
from torch import nn
from torch._export.serde.schema import ScalarType
from torch._export.serde.serialize import deserialize_scalar_type
from torch.export import ExportedProgram

from partkit.models.sources.archive_layout import data_offset

WEIGHTS, CONSTANTS = "data/weights/model_weights_config.json", "data/constants/model_constants_config.json"
_FOLDERS = {WEIGHTS: "data/weights/", CONSTANTS: "data/constants/"}

Payloads = dict[str, dict[str, Any]]


def without_tensors(file: IO[bytes]) -> io.BytesIO:
    """The archive for torch's reader, its tensors on meta and without bytes. ``file`` is a checked archive."""
    made = io.BytesIO()
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as shadow:
        root = archive.infolist()[0].filename.partition("/")[0]
        for info in archive.infolist():
            name = info.filename.partition("/")[2]
            if not any(name.startswith(_FOLDERS[config]) for config in _FOLDERS):
                shadow.writestr(info.filename, archive.read(info))
        for config in _FOLDERS:
            payloads = _payloads(archive, f"{root}/{config}")
            for number, payload in enumerate(payloads.values()):
                payload["path_name"] = f"{payload['path_name'].partition('_')[0]}_{number}"  # none is shared
                _put_on_meta(payload["tensor_meta"])
                shadow.writestr(f"{root}/{_FOLDERS[config]}{payload['path_name']}", b"")
            shadow.writestr(f"{root}/{config}", json.dumps({"config": payloads}))
    made.seek(0)
    return made


def map_tensors(program: ExportedProgram, file: IO[bytes]) -> None:
    """Give the program that was read of :func:`without_tensors` its tensors, those without bytes aside, in place."""
    with zipfile.ZipFile(file) as archive:
        members = {info.filename.partition("/")[2]: info for info in archive.infolist()}
        root = archive.infolist()[0].filename.partition("/")[0]
        configs = {config: _payloads(archive, f"{root}/{config}") for config in _FOLDERS}
        offsets = {name: data_offset(file, info) for name, info in members.items() if info.file_size}
    whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    owners: dict[str, dict[str, Any]] = {WEIGHTS: program.state_dict, CONSTANTS: program.constants}
    for config, payloads in configs.items():
        tied: dict[str, torch.Tensor] = {}
        for key, payload in payloads.items():
            member = f"{_FOLDERS[config]}{payload['path_name']}"
            meta = payload["tensor_meta"]
            if member in offsets:
                made = _mapped(whole, offsets[member], members[member].file_size, meta)
            elif not all(size["as_int"] for size in meta["sizes"]):
                made = torch.empty_like(owners[config][key], device="cpu")
            else:
                continue
            made = nn.Parameter(made, requires_grad=False) if payload["is_param"] else made
            owners[config][key] = tied.setdefault(json.dumps(payload, sort_keys=True), made)


def _payloads(archive: zipfile.ZipFile, name: str) -> Payloads:
    payloads: Payloads = json.loads(archive.read(name))["config"]
    return payloads


def _put_on_meta(meta: dict[str, Any]) -> None:
    """Contiguous from the start of a storage of its own: a meta tensor of no bytes has no other."""
    sizes = [size["as_int"] for size in meta["sizes"]]
    strides = torch.empty(sizes, device="meta").stride()
    meta["device"] = {"type": "meta", "index": None}
    meta["strides"] = [{"as_int": stride} for stride in strides]
    meta["storage_offset"] = {"as_int": 0}


def _mapped(whole: mmap.mmap, offset: int, num_bytes: int, meta: Mapping[str, Any]) -> torch.Tensor:
    dtype = deserialize_scalar_type(ScalarType(meta["dtype"]))
    if offset % dtype.itemsize:  # torch.export.save aligns; another writer need not
        stored = torch.frombuffer(bytearray(whole[offset : offset + num_bytes]), dtype=dtype)
    else:
        stored = torch.frombuffer(whole, dtype=dtype, count=num_bytes // dtype.itemsize, offset=offset)
    sizes, strides = ([each["as_int"] for each in meta[name]] for name in ("sizes", "strides"))
    return stored.as_strided(sizes, strides, meta["storage_offset"]["as_int"])
