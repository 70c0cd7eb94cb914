"""What torch.export cannot follow, or follows into a crash or a wrong line: found beforehand, told in a sentence."""

from __future__ import annotations

import re

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import CustomObjArgument
from torch.nn.parameter import is_lazy

from partkit.errors import CaptureError, UsageError
from partkit.models.weights import named_tensors

_PLAIN = (torch.Tensor, nn.Parameter, nn.Buffer)

Found = tuple[str, str]
"""What is in the way, and what to do."""


def refuse_module(source: str, module: nn.Module) -> None:
    """Raise :class:`CaptureError` for the first part of a module that torch.export cannot see into."""
    for path, part in module.named_modules():
        for look in (_scripted, _packed, _simulated, _hidden):
            found = look(path, part)
            if found is not None:
                _refuse(source, *found)
    for name, tensor in named_tensors(module):
        if is_lazy(tensor):
            what = f"{name!r} of a lazy module has no shape before the first call"
            _refuse(source, what, "call the module once with its example inputs before it is handed over")
        if tensor.layout not in (torch.strided, torch.sparse_coo):
            layout = str(tensor.layout).removeprefix("torch.")
            _refuse(source, f"its tensor {name!r} is {layout}, of which torch makes no copies", "use its to_dense()")


def refuse_script(source: str, module: nn.Module) -> None:
    """Raise :class:`CaptureError` for a module that is wholly torch.jit's: it can't even be frozen."""
    found = _scripted("", module)
    if found is not None:
        raise CaptureError(f"partkit cannot load {source}: {found[0]}", hint=found[1])


def refuse_for_archive(source: str, program: ExportedProgram) -> None:
    """Raise :class:`CaptureError` for what a saved program cannot hold, though torch.export has captured it."""
    for name, tensor in {**program.state_dict, **program.constants}.items():
        if not isinstance(tensor, torch.Tensor):
            continue
        if tensor.layout != torch.strided:
            layout = str(tensor.layout).removeprefix("torch.")
            _refuse(source, f"its tensor {name!r} is {layout}, which no saved program holds", "use its to_dense()")
        if type(tensor) not in _PLAIN:
            what = f"its tensor {name!r} is of class {type(tensor).__name__}, which no saved program holds"
            _refuse(source, what, f"replace it by its {_plain_form(tensor)}")
        first = name.partition(".")[0]
        if hasattr(fx.GraphModule, first):
            what = f"{first!r} is the name of an attribute of torch's graphs, which hides it there"
            _refuse(source, what, "rename it")


def refuse_own_classes(what: str, leaf: object) -> None:
    """Raise :class:`UsageError` for an example input of a tensor class of its own, which no saved program holds."""
    if isinstance(leaf, torch.Tensor) and type(leaf) not in _PLAIN:
        raise UsageError(
            f"{what} is of class {type(leaf).__name__}, which no saved program holds",
            hint=f"feed its {_plain_form(leaf)}",
        )


def _plain_form(tensor: torch.Tensor) -> str:
    """What makes a plain tensor of one of another class."""
    is_wrapper = hasattr(tensor, "__tensor_flatten__")  # its own memory holds no values
    return "dequantize()" if is_wrapper else "as_subclass(torch.Tensor)"


def refuse_objects(source: str, program: ExportedProgram) -> None:
    """Raise :class:`CaptureError` for a program that works on an object: a Generator, packed weights."""
    nodes = {node.name: node for node in program.graph.nodes}
    for spec in program.graph_signature.input_specs:
        if not isinstance(spec.arg, CustomObjArgument):
            continue
        held = program.constants.get(spec.target) if spec.target is not None else None
        kind = type(held).__name__ if held is not None else spec.arg.class_fqn.rpartition(".")[2]
        is_generator = "generator" in f"{kind} {spec.arg.class_fqn}".lower()
        line = next((told for user in nodes[spec.arg.name].users if (told := line_of(user)) is not None), None)
        what = f"its operations share a {'torch.Generator' if is_generator else kind}, and stages share tensors only"
        advice = "draw without generator=, or make the noise an input" if is_generator else "keep such objects outside"
        _refuse(source, what, advice, where=line)


def refuse_layouts(source: str, graph: fx.Graph) -> None:
    """Raise :class:`CaptureError` for a model that returns a tensor without strides: no memory is laid out for it."""
    for leaf in graph.output_node().all_input_nodes:
        value = leaf.meta.get("val")
        if isinstance(value, torch.Tensor) and value.layout != torch.strided:
            layout = str(value.layout).removeprefix("torch.")
            _refuse(source, f"it returns {leaf.name}, which is {layout}", "return its to_dense()", where=line_of(leaf))


def without_capture(source: str) -> str:
    """How a model runs without capture: by a command where it has a name, else by giving it one."""
    if source.startswith("the "):  # a live module: a command has nothing to build it from
        return (
            "returned by a function of yours, 'partkit compare py:MODULE:FUNCTION --with single,dispatch' runs it "
            "without capture"
        )
    return f"'partkit compare {source} --with single,dispatch' runs it without capture"


def line_of(node: fx.Node) -> str | None:
    """The line of the model's own code that a node came from; None where torch kept none."""
    trace = str(node.meta.get("stack_trace") or "")
    places = re.findall(r'File "([^"]+)", line (\d+), in (.+)\n\s*(.*)', trace)
    own = [place for place in places if "/torch/" not in place[0]]
    return None if not own else "{}:{} in {} ({})".format(*own[-1])


def _refuse(source: str, what: str, advice: str, *, where: str | None = None) -> None:
    place = f" at {where}" if where is not None else ""
    raise CaptureError(
        f"torch.export cannot capture {source}{place}: {what}", hint=f"{advice}; {without_capture(source)}"
    )


def _scripted(path: str, part: nn.Module) -> Found | None:
    if not isinstance(part, torch.jit.ScriptModule):
        return None
    maker = "trace" if "Traced" in type(part).__name__ else "script"
    return f"{_named(path)} was made by torch.jit.{maker}, which hides its operations", (
        "use the nn.Module that it was made from"
    )


def _packed(path: str, part: nn.Module) -> Found | None:
    if not any(isinstance(value, torch.ScriptObject) for value in vars(part).values()):
        return None
    owner = path.removesuffix("._packed_params")
    return f"{_named(owner)} is quantised, its weights packed for CPU kernels and no tensors", (
        "use the module from before torch.ao.quantization, or quantise with torchao"
    )


def _simulated(path: str, part: nn.Module) -> Found | None:
    if all(base.__name__ != "FakeQuantizeBase" for base in type(part).__mro__):  # importing it takes long
        return None
    return f"{_named(path)} is a {type(part).__name__}, which switches itself on and off by its data", (
        "take it out (torch.nn.Identity() in its place), or quantise with torchao"
    )


def _hidden(path: str, part: nn.Module) -> Found | None:
    """A name under which ``getattr`` finds something else: the class's own, or nothing for a name with a dot."""
    for name in part._modules:
        if callable(getattr(type(part), name, None)):
            return (
                f"its module {_dotted(path, name)!r} has the name of a method, which hides it",
                "rename it",
            )
    for name in (*part._parameters, *part._buffers):
        if "." in name:
            return f"its tensor {_dotted(path, name)!r} has a dot in its own name, which parts modules elsewhere", (
                "rename it"
            )
    return None


def _dotted(path: str, name: str) -> str:
    return f"{path}.{name}".lstrip(".")


def _named(path: str) -> str:
    return f"its module {path!r}" if path else "it"
