"""A live nn.Module -> a saved program that ranks, and later sessions, can read: its code and weights in one file."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, OutputKind
from torch.utils import _pytree as pytree

from partkit.data.model import ModelSpec
from partkit.errors import UsageError
from partkit.models.capture.export import export_program
from partkit.models.refusals import (
    refuse_for_archive,
    refuse_layouts,
    refuse_module,
    refuse_objects,
    refuse_own_classes,
)
from partkit.models.sources import parse_model
from partkit.models.sources.base import require_dynamic
from partkit.models.sources.default_inputs import mark_dynamic
from partkit.models.sources.loaded import LoadedModel
from partkit.models.sources.meta_build import is_exported
from partkit.models.sources.pt2_load import STRUCTURE_FILE
from partkit.models.sources.signature import describe_tensor, named_leaves, refuse_unlaid, with_own_tensors
from partkit.models.structures import describe_structure, register_classes, remember_structure
from partkit.models.weights import ModuleWeights, named_tensors


def archive_module(
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    folder: Path,
    *,
    dynamic: Sequence[str] = (),
) -> ModelSpec:
    """Export a module with its example inputs and save it in ``folder``, named by the digest of its content.

    ``dynamic`` are sizes that may vary up to the examples', as ``--dynamic`` names them.
    The module itself stays as it is. Raises :class:`UsageError` for a module in training mode or without weights,
    :class:`CaptureError` where torch.export gives up.
    """
    name = type(module).__name__
    if module.training and not is_exported(module):
        raise UsageError(f"the {name} is in training mode", hint="call its eval() first")
    refuse_module(f"the {name}", module)
    tensors = dict(named_tensors(module))
    if any(tensor.is_meta for tensor in tensors.values()):
        raise UsageError(f"the {name} has tensors on the meta device", hint="give them values first")
    register_classes((args, dict(kwargs)), f"the {name} is fed")
    for leaf in pytree.tree_leaves((args, dict(kwargs))):
        refuse_unlaid("an example input", leaf)
        refuse_own_classes("an example input", leaf)
    own_args, own_kwargs = with_own_tensors((args, dict(kwargs)))
    spec = _with_inputs(ModelSpec(source=f"the {name}"), module, own_args, own_kwargs, dynamic)
    program = export_program(LoadedModel(spec, module, own_args, own_kwargs, ModuleWeights(tensors)))
    refuse_objects(spec.source, program)
    refuse_for_archive(spec.source, program)
    refuse_layouts(spec.source, program.graph)
    constants = _constant_outputs(program)
    structure = _flatten(program, own_args, own_kwargs)
    outputs = json.dumps({**describe_structure(structure), "constants": constants})
    folder.mkdir(parents=True, exist_ok=True)
    handle, text = tempfile.mkstemp(dir=folder, suffix=".pt2")
    os.close(handle)
    temporary = Path(text)
    try:
        torch.export.save(program, temporary, extra_files={STRUCTURE_FILE: outputs})
        with temporary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        path = folder / f"{re.sub(r'[^A-Za-z0-9_]', '', name)}-{digest[:16]}.pt2"
        temporary.replace(path)
        remember_structure(path.name, structure)
    finally:
        temporary.unlink(missing_ok=True)
    named = [f"{each.name}.{place}={label}" for each in spec.inputs for place, label in each.dynamic.items()]
    return parse_model(f"pt2:{path}", dynamic=named)


def _with_inputs(
    spec: ModelSpec, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic: Sequence[str]
) -> ModelSpec:
    """The spec with inputs whose sizes vary as asked; without any where none does."""
    if not dynamic:
        return spec
    for text in dynamic:
        require_dynamic(text)
    leaves = [(name, leaf) for name, leaf in named_leaves(module, args, kwargs) if isinstance(leaf, torch.Tensor)]
    inputs = tuple(describe_tensor(name, leaf) for name, leaf in leaves)
    tokens = [each.name for each in inputs if len(each.shape) == 2 and each.dtype in ("int32", "int64")]
    asked = spec.model_copy(update={"options": {"dynamic": ",".join(dynamic)}})
    return spec.model_copy(update={"inputs": mark_dynamic(asked, inputs, tokens)})


def _flatten(program: ExportedProgram, args: tuple[Any, ...], kwargs: dict[str, Any]) -> pytree.TreeSpec:
    """Have the program take a flat tuple of what it is fed and return one of what it computes, in place.

    Ranks need only the leaves, and may lack the program's imports; torch cannot read back a text among the outputs.
    Returns the outputs' own structure.
    """
    signature = program.module_call_graph[0].signature
    assert signature is not None
    structure: pytree.TreeSpec = signature.out_spec
    fed = tuple(pytree.tree_leaves((args, kwargs)))
    signature.in_spec, signature.forward_arg_names = pytree.tree_structure((fed, {})), None
    program.example_inputs = (fed, {})
    is_computed = [not isinstance(spec.arg, ConstantArgument) for spec in program.graph_signature.output_specs]
    output = program.graph.output_node()
    (leaves,) = output.args
    assert isinstance(leaves, tuple | list)
    output.args = (tuple(itertools.compress(leaves, is_computed)),)
    program.graph_module.recompile()
    specs = list(itertools.compress(program.graph_signature.output_specs, is_computed))
    program.graph_signature.output_specs[:] = specs
    signature.outputs = [each for each in signature.outputs if not isinstance(each, ConstantArgument)]
    signature.out_spec = pytree.tree_structure((0,) * sum(spec.kind == OutputKind.USER_OUTPUT for spec in specs))
    return structure


def _constant_outputs(program: ExportedProgram) -> dict[str, Any]:
    """The program's outputs that are the same for every item, by their place among all."""
    specs = [spec.arg for spec in program.graph_signature.output_specs if spec.kind == OutputKind.USER_OUTPUT]
    return {str(place): arg.value for place, arg in enumerate(specs) if isinstance(arg, ConstantArgument)}
