"""An nn.Module and its example inputs -> one clean, flat graph of tensor operations.

Capture runs on fake tensors: no weights are read, and a model far larger than memory is captured in
seconds. What comes out holds only what a stage needs to be cut from it: placeholders for the model's inputs,
``get_attr`` nodes that name parameters, buffers and constants, operations, and one output.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils import _pytree as pytree

from partkit.data.model import ModelSpec
from partkit.errors import CaptureError
from partkit.models.capture.captured import Capture, TensorInfo, structure_digest
from partkit.models.capture.clean import clean
from partkit.models.capture.failure import capture_error
from partkit.models.capture.layouts import rely_on_no_order
from partkit.models.capture.ranges import narrowed_inputs
from partkit.models.capture.sizes import bind_sizes, dynamic_shapes
from partkit.models.refusals import refuse_layouts, refuse_module, refuse_objects
from partkit.models.sources.loaded import LoadedModel
from partkit.models.structures import registering_outputs
from partkit.models.weights import canonical_names


def capture(loaded: LoadedModel) -> Capture:
    """Export a model and clean the graph. Raises :class:`CaptureError` where torch.export gives up."""
    with _without_torchs_warnings():
        program = loaded.exported if loaded.exported is not None else _export(loaded)
        refuse_objects(loaded.spec.source, program)
        if _mutates(program) or _depends_on_context(program):
            program = _decomposed(program, loaded)
    _refuse_state(program)
    canonical = canonical_names(loaded.module) if loaded.module is not None else {}
    graph, names, submodules = _unlift(program, canonical, [item.name for item in loaded.spec.inputs])
    refuse_layouts(loaded.spec.source, graph)
    symbols = bind_sizes(graph, loaded.spec)
    values = {name: tensor for name, tensor in _real_values(program, canonical).items() if name in names}
    out_spec = program.call_spec.out_spec
    assert out_spec is not None
    tensors = {name: info for name, info in _tensor_infos(program, canonical).items() if name in names}
    rough = Capture(loaded.spec, graph, tensors, values, submodules, out_spec, symbols=symbols, lost=loaded.lost)
    free = clean(graph, values, submodules)
    for body in (part for each in submodules.values() for part in each.modules()):
        if isinstance(body, fx.GraphModule):  # of a condition or loop: what was in a context is in the graph now
            rely_on_no_order(body.graph)
            body.recompile()
    used = {str(node.target) for node in graph.nodes if node.op == "get_attr"}
    captured = replace(
        rough,
        free=free,
        tensors={name: info for name, info in tensors.items() if name in used},
        values={name: value for name, value in values.items() if name in used},
    )
    changes = {"structure_sha256": structure_digest(captured), "inputs": narrowed_inputs(graph, loaded.spec.inputs)}
    spec = loaded.spec.model_copy(update=changes)
    return replace(captured, spec=spec)


def export_program(loaded: LoadedModel) -> ExportedProgram:
    """The model's exported program as torch.export gives it. Raises :class:`CaptureError`."""
    with _without_torchs_warnings():
        program = _export(loaded)
        return _decomposed(program, loaded) if _depends_on_context(program) else program


@contextlib.contextmanager
def _without_torchs_warnings() -> Iterator[None]:
    with warnings.catch_warnings():  # torch copies its own tree specs in a way that it deprecates itself
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        # any nn.LSTM or nn.GRU, and features that a forward hook collects
        warnings.filterwarnings("ignore", message="The tensor attributes? .* assigned during export")
        yield


# --- export -----------------------------------------------------------------------------------------------


def _export(loaded: LoadedModel) -> ExportedProgram:
    module = loaded.module
    assert module is not None
    refuse_module(loaded.spec.source, module)
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)

    def fake(leaf: object) -> object:
        return mode.from_tensor(leaf, static_shapes=True) if isinstance(leaf, torch.Tensor) else leaf

    on_meta = any(parameter.is_meta for parameter in module.parameters())
    shapes = dynamic_shapes(loaded.spec, loaded.args, loaded.kwargs)
    args, kwargs = loaded.args, loaded.kwargs
    if on_meta and shapes is None:
        args, kwargs = pytree.tree_map(fake, args), pytree.tree_map(fake, kwargs)
    swap = _fake_parameters(module, mode) if on_meta else contextlib.nullcontext()
    with swap, torch.no_grad(), _outputs_registered(module, loaded.spec):
        try:
            return torch.export.export(module, args, kwargs, strict=False, dynamic_shapes=shapes)  # type: ignore[arg-type]
        except CaptureError:
            raise
        except Exception as error:
            raise capture_error(loaded.spec, error, module) from error


@contextlib.contextmanager
def _outputs_registered(module: torch.nn.Module, spec: ModelSpec) -> Iterator[None]:
    """Make the classes that the module returns known to pytree while it is exported."""
    hook = module.register_forward_hook(registering_outputs(f"{spec.source} returns"))
    try:
        yield
    finally:
        hook.remove()


@contextlib.contextmanager
def _fake_parameters(module: torch.nn.Module, mode: FakeTensorMode) -> Iterator[None]:
    """Give each parameter on the meta device a fake stand-in on the CPU, ties kept, and take it back after."""
    stand_ins: dict[int, torch.nn.Parameter] = {}
    undo: list[tuple[dict[str, Any], str, Any]] = []
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is None:
                continue
            if id(parameter) not in stand_ins:
                with mode:
                    blank = torch.empty(parameter.shape, dtype=parameter.dtype)
                    stand_ins[id(parameter)] = torch.nn.Parameter(blank, requires_grad=False)
            undo.append((part._parameters, name, parameter))
            part._parameters[name] = stand_ins[id(parameter)]
    try:
        yield
    finally:
        for owner, name, parameter in undo:
            owner[name] = parameter


def _decomposed(program: ExportedProgram, loaded: LoadedModel) -> ExportedProgram:
    """The program without writes in place and without contexts: what vmap and autocast do is in its operations."""
    try:
        decomposed: ExportedProgram = program.run_decompositions({})
    except Exception as error:  # torch may raise anything where it meets what it did not expect
        raise capture_error(loaded.spec, error, loaded.module) from error
    return decomposed


def _mutates(program: ExportedProgram) -> bool:
    return any(
        isinstance(node.target, torch._ops.OpOverload)
        and node.target._schema.is_mutable
        and node.target is not torch.ops.aten.detach_.default  # torch.tensor in forward leaves it: nothing is written
        for graph_module in program.graph_module.modules()
        if isinstance(graph_module, fx.GraphModule)
        for node in graph_module.graph.nodes
    )


def _depends_on_context(program: ExportedProgram) -> bool:
    """True for operations that mean something else outside of what they were called in: vmap, an enabled autocast."""
    return any(
        getattr(node.target, "__module__", "").startswith("torch._functorch")
        or (node.target is torch.ops.higher_order.wrap_with_autocast and bool(node.args[2]))
        for node in program.graph.nodes
        if node.op == "call_function"
    )


def _refuse_state(program: ExportedProgram) -> None:
    kept = [spec.target for spec in program.graph_signature.output_specs if spec.kind == OutputKind.BUFFER_MUTATION]
    if kept:
        raise CaptureError(
            f"the model changes its buffer {kept[0]!r} in forward ({len(kept)} in all), and items in flight "
            "together would see each other's state",
            hint="set the model to eval() or keep that state out of forward",
        )


# --- from the exported program to our graph -----------------------------------------------------------------


def _unlift(
    program: ExportedProgram, canonical: Mapping[str, str], inputs: Iterable[str]
) -> tuple[fx.Graph, set[str], dict[str, torch.nn.Module]]:
    """Copy the exported graph with parameters, buffers and constants as get_attr nodes by name.

    ``inputs`` names the model's tensors: decomposing gives a saved program's inputs other names.
    """
    names = iter(inputs)
    specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    attributes: dict[str, fx.Node] = {}
    submodules: dict[str, torch.nn.Module] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder":
            spec = specs[node.name]
            if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
                target = canonical.get(spec.target, spec.target)
                if target not in attributes:
                    attributes[target] = _get_attr(graph, target, node)
                copies[node] = attributes[target]
                continue
            if isinstance(spec.arg, ConstantArgument):
                continue  # None or a plain number, which the graph holds as a constant wherever it is used
            name = next(names, node.name)
            copies[node] = graph.placeholder(name)
            copies[node].name = name  # fx renames what is a Python builtin, as nn.Sequential's "input"
            copies[node].meta = dict(node.meta)
        elif node.op == "output":
            graph.output(tuple(_user_outputs(program, node, copies)))
        elif node.op == "get_attr":
            submodule = getattr(program.graph_module, str(node.target))
            submodules[str(node.target)] = submodule
            copies[node] = graph.node_copy(node, lambda n: copies[n])
        else:
            copies[node] = graph.node_copy(node, lambda n: copies[n])
    return graph, set(attributes), submodules


def _get_attr(graph: fx.Graph, target: str, lifted: fx.Node) -> fx.Node:
    node = graph.create_node("get_attr", target, name=lifted.name)
    node.meta = {"val": lifted.meta.get("val")}
    return node


def _user_outputs(program: ExportedProgram, output: fx.Node, copies: Mapping[fx.Node, fx.Node]) -> list[Any]:
    leaves = output.args[0]
    assert isinstance(leaves, tuple | list)
    kinds = [spec.kind for spec in program.graph_signature.output_specs]
    wanted = [leaf for leaf, kind in zip(leaves, kinds, strict=True) if kind == OutputKind.USER_OUTPUT]
    return [copies[leaf] if isinstance(leaf, fx.Node) else leaf for leaf in wanted]


def _tensor_infos(program: ExportedProgram, canonical: Mapping[str, str]) -> dict[str, TensorInfo]:
    infos = {}
    for spec in program.graph_signature.input_specs:
        if spec.target is None or spec.kind == InputKind.USER_INPUT:
            continue
        tensor = program.state_dict.get(spec.target, program.constants.get(spec.target))
        if isinstance(tensor, torch.Tensor):
            name = canonical.get(spec.target, spec.target)
            infos[name] = TensorInfo(tuple(tensor.shape), tensor.dtype, spec.kind == InputKind.PARAMETER)
    return infos


def _real_values(program: ExportedProgram, canonical: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """Buffers and constants with their values; parameters have none at capture."""
    values = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind not in (InputKind.BUFFER, InputKind.CONSTANT_TENSOR) or spec.target is None:
            continue
        tensor = program.state_dict.get(spec.target, program.constants.get(spec.target))
        if isinstance(tensor, torch.Tensor):
            values[canonical.get(spec.target, spec.target)] = tensor.detach()
    return values
