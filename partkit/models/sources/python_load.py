"""Turn what a ``py:`` factory returns into a loaded model."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from partkit.data.model import InputSpec, ModelSpec
from partkit.errors import UsageError
from partkit.models.inputs import synthetic_tensor
from partkit.models.refusals import refuse_script
from partkit.models.sources.base import asked_dtype, input_overrides, weights_path
from partkit.models.sources.casting import cast, cast_module, precision_of
from partkit.models.sources.default_inputs import mark_dynamic, parse_input, within_own_ranges
from partkit.models.sources.loaded import LoadedModel
from partkit.models.sources.meta_build import freeze, move_to_meta
from partkit.models.sources.own_weights import put_on_weights
from partkit.models.sources.signature import describe_tensor, named_leaves, with_own_tensors
from partkit.models.structures import register_classes
from partkit.models.weights import ModuleWeights, SeededWeights, WeightSource, named_tensors

Call = tuple[tuple[Any, ...], dict[str, Any]]


def load_made(spec: ModelSpec, factory: Callable[[], Any]) -> LoadedModel:
    """The factory's model; see :class:`partkit.models.sources.python_factory.PythonFactorySource`.

    Raises :class:`UsageError` where the factory raises or returns no module, and for inputs that do not fit it.
    """
    module, call = _make(spec, factory)
    register_classes(call, f"{spec.source} gives its model")
    call = with_own_tensors(call)
    asked = asked_dtype(spec)
    if asked is not None:
        call = pytree.tree_map_only(torch.Tensor, lambda each: cast(each, getattr(torch, asked)), call)
    args, kwargs, inputs = _fit(spec, module, call)
    tensors = dict(named_tensors(module))
    on_meta = any(tensor.is_meta for tensor in tensors.values())
    path = weights_path(spec)
    weights: WeightSource = SeededWeights(spec.seed, module) if on_meta else ModuleWeights(tensors)
    if path is not None:
        weights = put_on_weights(module, path)
    changes = {"inputs": inputs, "dtype": precision_of(tensors.values(), default=spec.dtype)}
    spec = spec.model_copy(update=changes)
    return LoadedModel(spec, module, args, kwargs, weights, make_anew=lambda: _make(spec, factory)[0])


def _make(spec: ModelSpec, factory: Callable[[], Any]) -> tuple[nn.Module, Call]:
    """The factory's module in the dtype that was asked for, frozen, and its example inputs."""
    torch.manual_seed(spec.seed)
    try:
        made = factory()
    except Exception as error:  # the user's code may raise anything
        raise UsageError(f"{spec.source} raised {type(error).__name__}: {error}") from error
    module, call = _split(spec, made)
    refuse_script(spec.source, module)
    path = weights_path(spec)
    if path is not None:
        if any(is_lazy(tensor) for _, tensor in named_tensors(module)):
            raise UsageError(
                f"{spec.source} has lazy modules, whose parameters have no shape that --weights could fill",
                hint="return the module with its sizes given",
            )
        put_on_weights(move_to_meta(module), path)
    _initialise_lazy(spec, module, call)
    asked = asked_dtype(spec)
    return freeze(module if asked is None else cast_module(module, getattr(torch, asked))), call


def _initialise_lazy(spec: ModelSpec, module: nn.Module, call: Call) -> None:
    """Run a module with lazy parts once, in place: only then they have parameters. Others with none are refused."""
    if any(is_lazy(tensor) for _, tensor in named_tensors(module)):
        args, kwargs = call
        with torch.no_grad():
            try:
                module.eval()(*args, **kwargs)
            except Exception as error:  # the user's code may raise anything
                raise UsageError(
                    f"{spec.source} has lazy modules, and its first call raised {type(error).__name__}: {error}",
                    hint="return example inputs that forward takes",
                ) from error
    for name, buffer in module.named_buffers():
        if buffer.is_meta:
            raise UsageError(
                f"{spec.source} has its buffer {name!r} on the meta device, where it has no value",
                hint="make buffers on the CPU: parameters alone may be on meta",
            )


def _split(spec: ModelSpec, made: object) -> tuple[nn.Module, Call]:
    if isinstance(made, nn.Module):
        return made, ((), {})
    match made:
        case (nn.Module() as module, (tuple() | list()) as args, dict() as kwargs):
            return module, (tuple(args), dict(kwargs))
        case (nn.Module() as module, (tuple() | list()) as args):
            return module, (tuple(args), {})
    got = [type(each).__name__ for each in made] if isinstance(made, tuple) else type(made).__name__
    raise UsageError(
        f"{spec.source} returned {got}", hint="return a torch.nn.Module, or (module, args, kwargs) with example inputs"
    )


def _fit(
    spec: ModelSpec, module: nn.Module, call: Call
) -> tuple[tuple[Any, ...], dict[str, Any], tuple[InputSpec, ...]]:
    """The example call with the shapes that the spec asks for, and the specs of its tensors."""
    args, kwargs = call
    try:
        leaves = named_leaves(module, args, kwargs)
    except TypeError as error:
        raise UsageError(f"{spec.source}: its example inputs don't fit forward: {error}") from None
    found = {name: describe_tensor(name, leaf) for name, leaf in leaves if isinstance(leaf, torch.Tensor)}
    wanted = {item.name: item for item in within_own_ranges(spec.inputs, found.values())}
    for name, text in input_overrides(spec).items():
        default = found.get(name)
        override = parse_input(text, dtype=default.dtype if default else spec.dtype)
        wanted.setdefault(name, override.model_copy(update={"range": default.range if default else None}))
    _refuse_unknown(spec, module, set(wanted) - set(found))
    replaced = [
        synthetic_tensor(wanted[name], spec.seed, 0)
        if name in wanted and not _same(wanted[name], found[name])
        else leaf
        for name, leaf in leaves
    ]
    args, kwargs = pytree.tree_unflatten(replaced, pytree.tree_structure((args, kwargs)))
    added = [item for name, item in wanted.items() if name not in found]
    kwargs |= {item.name: synthetic_tensor(item, spec.seed, 0) for item in added}
    inputs = (*(wanted.get(name, item) for name, item in found.items()), *added)
    if not inputs:
        raise UsageError(
            f"{spec.source} returned a module without example inputs",
            hint="return (module, args, kwargs), or give each with --input name=1x128:int64",
        )
    tokens = [item.name for item in inputs if len(item.shape) == 2 and item.dtype in ("int32", "int64")]
    return args, kwargs, inputs if spec.inputs else mark_dynamic(spec, inputs, tokens)


def _same(wanted: InputSpec, found: InputSpec) -> bool:
    return (wanted.shape, wanted.dtype) == (found.shape, found.dtype)


def _refuse_unknown(spec: ModelSpec, module: nn.Module, names: set[str]) -> None:
    """Raise :class:`UsageError` for an input that ``forward`` has no parameter for."""
    known = list(inspect.signature(module.forward).parameters)
    for name in sorted(names - set(known)):
        near = difflib.get_close_matches(name, known, n=2)
        raise UsageError(
            f"{type(module).__name__} of {spec.source} has no input {name!r}",
            hint=f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(known)}",
        )
