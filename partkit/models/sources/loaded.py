"""A built model: its module, example inputs and weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from partkit.data.model import ModelSpec
from partkit.models.program import move_program, program_module
from partkit.models.sources.meta_build import move_to_meta
from partkit.models.structures import LostStructure
from partkit.models.weights import WeightSource, canonical_names, parameter_slots

Place = Callable[[str, nn.Parameter, torch.Tensor], torch.Tensor]
"""What a module holds of a parameter: of its name, the parameter on meta and the whole tensor on the CPU."""


@dataclass(frozen=True)
class LoadedModel:
    """What a source hands to capture and to the executors."""

    spec: ModelSpec
    """Its inputs are resolved: one for each tensor leaf of ``(args, kwargs)``, in flattened order."""
    module: nn.Module | None
    """Parameters on meta (real for ``py:``), buffers real, eval mode; None for ``pt2:``."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    """Example inputs, real tensors on CPU: item 0 of the synthetic inputs, or the user's own."""
    weights: WeightSource
    exported: torch.export.ExportedProgram | None = None
    """The program of ``pt2:``; None for the others."""
    lost: LostStructure | None = None
    """Where outputs come as a flat tuple because their classes are not known to this program."""
    make_anew: Callable[[], nn.Module] | None = None
    """Makes another module like ``module``, where its author's own function can; a copy shares what hooks collect."""

    @property
    def weight_bytes(self) -> int:
        """Bytes of all parameters and buffers, tied ones counted once."""
        owner = self.module if self.module is not None else self.exported
        assert owner is not None
        tensors = {id(tensor): tensor for _, tensor in (*owner.named_parameters(), *owner.named_buffers())}
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())

    def materialise(self, device: str | torch.device = "cpu") -> nn.Module:
        """The whole unsplit module with its weights on one device: a copy of its own, ties kept."""
        module = self.build()
        self.fill(module, lambda _name, _parameter, tensor: tensor.to(device))
        if self.exported is not None:
            move_program(module, torch.device(device))
        return module.to(device)

    def build(self) -> nn.Module:
        """The unsplit module, a copy of its own, without the weights that a source reads by name: they are on meta."""
        if self.module is None:
            assert self.exported is not None
            return program_module(move_to_meta(self.exported.module(check_guards=False)))
        module = self.module if self.make_anew is None else self.make_anew()
        return copy.deepcopy(module) if module is self.module else module

    def fill(self, module: nn.Module, place: Place) -> None:
        """Give a built module's meta parameters their weights, one at a time, ties kept.

        ``place`` makes of a parameter's name, the parameter on meta (sharded, perhaps) and the whole tensor on the CPU
        what the module is to hold: all of it on a device, or this rank's shard. So no rank holds more than it keeps
        and one tensor.
        """
        canonical = canonical_names(module)
        placed: dict[str, nn.Parameter] = {}
        for owner, leaf, name, parameter in parameter_slots(module):
            if not parameter.is_meta:
                continue
            first = canonical[name]
            if first not in placed:
                made = place(name, parameter, self.weights.read(name))
                placed[first] = nn.Parameter(made, requires_grad=False)
            owner._parameters[leaf] = placed[first]
