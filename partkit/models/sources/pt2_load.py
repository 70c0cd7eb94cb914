"""Read a saved program into a loaded model."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import IO

import torch
from torch.export.graph_signature import TensorArgument
from torch.utils import _pytree as pytree

from partkit.data.model import InputSpec, ModelSpec
from partkit.errors import FormatError, UsageError
from partkit.models.sources.loaded import LoadedModel
from partkit.models.sources.signature import describe_tensor, floating_dtype
from partkit.models.weights import ModuleWeights

STRUCTURE_FILE = "partkit/outputs.json"
"""Member of an archive of partkit's own: how the program's flat outputs go together."""


def load_program(spec: ModelSpec, path: Path, file: IO[bytes]) -> LoadedModel:
    """The program of a checked archive; see :class:`partkit.models.sources.pt2.ArchiveSource`.

    Raises :class:`FormatError` for a file that torch cannot load, :class:`UsageError` without example inputs or in
    another dtype than the spec asks for.
    """
    extra = {STRUCTURE_FILE: ""}
    try:
        exported = torch.export.load(file, extra_files=extra)
    except Exception as error:  # damage shows itself anywhere in torch's reader
        raise FormatError(
            f"torch {torch.__version__} can't read {path}: {type(error).__name__}: {error}",
            hint="it may be damaged, or saved by a newer torch",
        ) from error
    exported._guards_code = []  # Python text that torch would compile; shapes are checked by partkit's own inputs
    _restore_structure(exported, extra[STRUCTURE_FILE])
    if exported.example_inputs is None:
        raise UsageError(f"{path} has no example inputs", hint="save the program as torch.export.export made it")
    args, kwargs = exported.example_inputs
    inputs = _inputs(exported, path)
    tensors = {**exported.state_dict, **{name: each for name, each in exported.constants.items() if _is_tensor(each)}}
    dtype = floating_dtype(exported.state_dict.values(), default=spec.dtype)
    if spec.dtype not in ("float32", dtype):
        raise UsageError(f"{spec.source} is saved in {dtype}, and --dtype {spec.dtype} can't change it")
    changes = {"inputs": inputs, "dtype": dtype}
    return LoadedModel(
        spec.model_copy(update=changes), None, tuple(args), dict(kwargs), ModuleWeights(tensors), exported
    )


def _restore_structure(exported: torch.export.ExportedProgram, text: str) -> None:
    """Give outputs the module's own structure where its classes are known here; see :mod:`partkit.models.archive`."""
    if not text:
        return
    signature = exported.module_call_graph[0].signature
    assert signature is not None
    with contextlib.suppress(NotImplementedError):
        signature.out_spec = pytree.treespec_loads(text)


def _inputs(exported: torch.export.ExportedProgram, path: Path) -> tuple[InputSpec, ...]:
    leaves = pytree.tree_leaves(exported.example_inputs)
    arguments = [each.arg for each in exported.graph_signature.input_specs if each.kind.name == "USER_INPUT"]
    if len(leaves) != len(arguments):
        raise FormatError(f"{path} is damaged: it has {len(arguments)} inputs and {len(leaves)} example values")
    return tuple(
        describe_tensor(argument.name, leaf)
        for argument, leaf in zip(arguments, leaves, strict=True)
        if isinstance(argument, TensorArgument)
    )


def _is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)
