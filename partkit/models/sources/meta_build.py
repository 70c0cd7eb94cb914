"""Build a module with its parameters on the meta device and its buffers real: seconds and megabytes at any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from partkit.models.weights import parameter_slots


def build_on_meta(factory: Callable[[], nn.Module], *, seed: int) -> nn.Module:
    """The factory's module: parameters on meta (ties kept), buffers real on CPU, eval mode, no gradients.

    Each parameter moves to meta as it is registered, so the initialisation that follows costs nothing, while
    values computed in ``__init__`` (position ids, rotary frequencies) stay real. A module whose ``__init__``
    reads its parameters' values can't be built so; it is built for real, then its parameters are moved.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            with _parameters_on_meta():
                module = factory()
        except RuntimeError:  # what torch raises for values asked of meta tensors; a real fault comes again below
            module = factory()
        else:
            if any(buffer.is_meta for buffer in module.buffers()):
                module = factory()
    return freeze(move_to_meta(module))


def move_to_meta(module: nn.Module) -> nn.Module:
    """Move the parameters that are still real to meta, in place; shared ones stay shared."""
    moved: dict[int, nn.Parameter] = {}
    for owner, leaf, _, parameter in parameter_slots(module):
        if not parameter.is_meta:
            owner._parameters[leaf] = moved.setdefault(id(parameter), _on_meta(parameter))
    return module


def freeze(module: nn.Module) -> nn.Module:
    """Eval mode and no gradients, in place."""
    if not is_exported(module):
        module.eval()
    return module.requires_grad_(False)


def is_exported(module: nn.Module) -> bool:
    """True for the module of an exported program: it has one mode, and its own ``eval`` raises."""
    return "eval" in vars(module)


def _on_meta(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(parameter.detach().to("meta"), requires_grad=False)


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    def hook(_module: nn.Module, _name: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
        # An unchanged parameter must stay the same object: sharing it is how weights are tied.
        if parameter is None or parameter.is_meta or isinstance(parameter, nn.UninitializedParameter):
            return None
        return _on_meta(parameter)

    # torch types the hook as returning nothing, and documents that what it returns replaces the parameter.
    handle = register_module_parameter_registration_hook(hook)  # type: ignore[arg-type]
    try:
        yield
    finally:
        handle.remove()
