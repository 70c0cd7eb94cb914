"""A live nn.Module -> a saved program that ranks, and later sessions, can read: its code and weights in one file."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from partkit.data.model import ModelSpec
from partkit.errors import UsageError
from partkit.models.capture.export import export_program
from partkit.models.sources import parse_model
from partkit.models.sources.loaded import LoadedModel
from partkit.models.sources.pt2_load import STRUCTURE_FILE
from partkit.models.sources.signature import with_own_tensors
from partkit.models.weights import ModuleWeights, named_tensors


def archive_module(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], folder: Path) -> ModelSpec:
    """Export a module with its example inputs and save it in ``folder``, named by the digest of its content.

    The module itself stays as it is. Raises :class:`UsageError` for a module in training mode or without weights,
    :class:`CaptureError` where torch.export gives up.
    """
    name = type(module).__name__
    if module.training:
        raise UsageError(f"the {name} is in training mode", hint="call its eval() first")
    tensors = dict(named_tensors(module))
    if any(tensor.is_meta for tensor in tensors.values()):
        raise UsageError(f"the {name} has parameters on the meta device", hint="give them values first")
    own_args, own_kwargs = with_own_tensors((args, dict(kwargs)))
    spec = ModelSpec(source=f"the {name}")
    program = export_program(LoadedModel(spec, module, own_args, own_kwargs, ModuleWeights(tensors)))
    folder.mkdir(parents=True, exist_ok=True)
    handle, text = tempfile.mkstemp(dir=folder, suffix=".pt2")
    os.close(handle)
    temporary = Path(text)
    try:
        torch.export.save(program, temporary, extra_files={STRUCTURE_FILE: _flatten_outputs(program)})
        with temporary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        path = folder / f"{re.sub(r'[^A-Za-z0-9_]', '', name)}-{digest[:16]}.pt2"
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return parse_model(f"pt2:{path}")


def _flatten_outputs(program: ExportedProgram) -> str:
    """Have the program return a flat tuple, and give its own structure as text for whoever knows its classes.

    Ranks need only the leaves, and may lack the program's imports. The text is empty for a class that was
    registered without a name to serialise it by: its users get the tuple.
    """
    signature = program.module_call_graph[0].signature
    assert signature is not None
    structure, signature.out_spec = signature.out_spec, pytree.tree_structure((0,) * signature.out_spec.num_leaves)
    try:
        return pytree.treespec_dumps(structure)
    except NotImplementedError:
        return ""
