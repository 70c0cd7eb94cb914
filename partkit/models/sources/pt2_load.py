"""Read a saved program into a loaded model."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import sympy
import torch
from torch._export.serde import serialize
from torch.export.graph_signature import ConstantArgument, OutputKind, OutputSpec, TensorArgument
from torch.utils import _pytree as pytree
from torch.utils._sympy.value_ranges import ValueRanges

from partkit.data.model import InputSpec, ModelSpec
from partkit.data.reading import in_one_line
from partkit.errors import FormatError, UsageError
from partkit.models.sources.archive_tensors import map_tensors, without_tensors
from partkit.models.sources.base import asked_dtype, named_dimensions
from partkit.models.sources.casting import PRECISIONS, precision_of
from partkit.models.sources.loaded import LoadedModel
from partkit.models.sources.signature import describe_tensor
from partkit.models.structures import LostStructure, read_structure, remembered_structure
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
        with _texts_among_outputs():
            exported = torch.export.load(without_tensors(file), extra_files=extra)
        map_tensors(exported, file)
    except Exception as error:  # damage shows itself anywhere in torch's reader
        raise FormatError(
            f"torch {torch.__version__} can't read {path}: {type(error).__name__}: {in_one_line(error)}",
            hint="it may be damaged, or saved by a newer torch",
        ) from error
    exported._guards_code = []  # Python text that torch would compile; shapes are checked by partkit's own inputs
    lost = _restore_outputs(exported, path.name, extra[STRUCTURE_FILE]) if extra[STRUCTURE_FILE] else None
    if exported.example_inputs is None:
        raise UsageError(f"{path} has no example inputs", hint="save the program as torch.export.export made it")
    args, kwargs = exported.example_inputs
    inputs = spec.inputs or _with_sizes(spec, exported, _inputs(exported, path))
    _limit_sizes(exported, inputs)
    tensors = {**exported.state_dict, **{name: each for name, each in exported.constants.items() if _is_tensor(each)}}
    own = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values() if tensor.dtype in PRECISIONS}
    asked = asked_dtype(spec)
    if asked is not None and own - {asked}:
        raise UsageError(f"{spec.source} is saved in {' and '.join(sorted(own))}, and --dtype {asked} can't change it")
    dtype = precision_of(tensors.values(), default=spec.dtype)
    changes = {"inputs": inputs, "dtype": dtype}
    return LoadedModel(
        spec.model_copy(update=changes), None, tuple(args), dict(kwargs), ModuleWeights(tensors), exported, lost
    )


@contextlib.contextmanager
def _texts_among_outputs() -> Iterator[None]:
    """Have torch's reader take a text among a program's outputs, which its own writer writes and it refuses."""
    owner = serialize.GraphModuleDeserializer
    refusing = owner.deserialize_graph_output

    def read(self: Any, output: Any) -> Any:
        return output.as_string if output.type == "as_string" else refusing(self, output)

    owner.deserialize_graph_output = read  # type: ignore[method-assign]
    try:
        yield
    finally:
        owner.deserialize_graph_output = refusing  # type: ignore[method-assign]


def _restore_outputs(exported: torch.export.ExportedProgram, name: str, text: str) -> LostStructure | None:
    """Give outputs their constants and the module's own structure again; see :mod:`partkit.models.archive`.

    Returns what is lost where the structure's classes are not known here.
    """
    told = json.loads(text)
    output, specs = exported.graph.output_node(), exported.graph_signature.output_specs
    (leaves,) = output.args
    assert isinstance(leaves, tuple | list)
    first = sum(spec.kind != OutputKind.USER_OUTPUT for spec in specs)
    restored = list(leaves)
    for place, value in sorted((int(place), value) for place, value in told["constants"].items()):
        restored.insert(first + place, value)
        specs.insert(first + place, OutputSpec(OutputKind.USER_OUTPUT, ConstantArgument(name="", value=value), None))
    output.args = (tuple(restored),)
    exported.graph_module.recompile()
    signature = exported.module_call_graph[0].signature
    assert signature is not None
    structure = remembered_structure(name) or read_structure(told)
    if isinstance(structure, LostStructure):
        signature.out_spec = pytree.tree_structure((0,) * (len(restored) - first))
        return structure
    signature.out_spec = structure
    return None


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


def _with_sizes(
    spec: ModelSpec, exported: torch.export.ExportedProgram, inputs: tuple[InputSpec, ...]
) -> tuple[InputSpec, ...]:
    """The inputs with the sizes that the program lets vary, from its own smallest to its example's.

    A size is named by ``--dynamic INPUT.DIM=NAME``; else the first dimension is the batch, the second of token ids the
    sequence, and another has the input's name and its place.
    """
    values, named = _placeholder_values(exported), named_dimensions(spec)
    label_by_symbol: dict[sympy.Symbol, str] = {}
    marked = []
    for each in inputs:
        places: dict[str, str] = {}
        smallest: dict[str, int] = {}
        for place, size in enumerate(values[each.name].shape):
            if isinstance(size, int):
                continue
            symbol = size.node.expr
            if not symbol.is_Symbol:
                raise UsageError(
                    f"{spec.source}: dimension {place} of input {each.name!r} is {symbol}, and only sizes that vary by "
                    "themselves can be served",
                    hint="export it with a Dim of its own for each size that varies",
                )
            own = _label(each, place, taken=set(label_by_symbol.values()))
            places[str(place)] = label_by_symbol.setdefault(symbol, named.get(each.name, {}).get(str(place), own))
            if (least := _least(exported, symbol)) > 1:
                smallest[str(place)] = least
        marked.append(each.model_copy(update={"dynamic": places, "smallest": smallest}))
    varying = {(each.name, place) for each in marked for place in each.dynamic}
    for name, labels in named.items():
        for text, label in labels.items():
            if (name, text) not in varying:
                raise UsageError(
                    f"--dynamic {name}.{text}={label} names a size of {spec.source} that does not vary",
                    hint="export it with dynamic_shapes, or leave it out",
                )
    return tuple(marked)


def _label(each: InputSpec, place: int, *, taken: set[str]) -> str:
    usual = "batch" if place == 0 else "seq" if place == 1 and each.dtype in ("int32", "int64") else ""
    return usual if usual and usual not in taken else f"{each.name}_{place}"


def _least(exported: torch.export.ExportedProgram, symbol: sympy.Symbol) -> int:
    """The smallest size that the program was exported for: without a Dim of its own (Dim.AUTO) that is 2."""
    allowed = exported.range_constraints.get(symbol)
    return 1 if allowed is None else max(1, int(allowed.lower))


def _limit_sizes(exported: torch.export.ExportedProgram, inputs: tuple[InputSpec, ...]) -> None:
    """Let the program's sizes be no larger than the inputs': what is reserved for a value is its largest size."""
    values = _placeholder_values(exported)
    for each in inputs:
        for place in each.dynamic:
            size = values[each.name].shape[int(place)]
            assert isinstance(size, torch.SymInt), f"{each.name} of the program varies where the spec says so"
            node = size.node
            node.shape_env.var_to_range[node.expr] = ValueRanges(each.least(place), each.shape[int(place)])


def _placeholder_values(exported: torch.export.ExportedProgram) -> dict[str, torch.Tensor]:
    return {node.name: node.meta["val"] for node in exported.graph.nodes if node.op == "placeholder"}


def _is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)
