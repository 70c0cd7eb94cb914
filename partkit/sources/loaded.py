"""A built model: its module, example inputs and weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from partkit.inputs import synthetic_inputs
from partkit.model import ModelSpec
from partkit.weights import WeightSource, canonical_names, parameter_slots


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

    def materialise(self, device: str | torch.device = "cpu") -> nn.Module:
        """The whole unsplit module with its weights on one device: a copy of its own, ties kept."""
        if self.module is None:
            assert self.exported is not None
            return copy.deepcopy(self.exported).module().to(device)
        module = copy.deepcopy(self.module)
        canonical = canonical_names(module)
        placed: dict[str, nn.Parameter] = {}
        for owner, leaf, name, parameter in parameter_slots(module):
            if not parameter.is_meta:
                continue
            first = canonical[name]
            if first not in placed:
                placed[first] = nn.Parameter(self.weights.read(first).to(device), requires_grad=False)
            owner._parameters[leaf] = placed[first]
        return module.to(device)


def call_by_keyword(spec: ModelSpec) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Item 0 of the synthetic inputs as keyword arguments."""
    return (), dict(synthetic_inputs(spec, 0))
