"""Fully sharded data parallel (FSDP2): each rank runs items of its own and gathers each layer's weights as it goes.

A data-parallel way: rates are per rank and add up. Layers are the children of the module's ModuleLists; the
next layer's gather is started while one computes.
"""

from __future__ import annotations

import itertools

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from partkit.executors.whole import WholeModelExecutor
from partkit.sources.loaded import LoadedModel


class FsdpExecutor(WholeModelExecutor):
    """The module sharded over all ranks, layer by layer."""

    is_data_parallel = True

    def prepare(self, loaded: LoadedModel) -> torch.nn.Module:
        """Shard every layer, then the rest, and chain the prefetches."""
        module = loaded.materialise(self._context.device)
        mesh = init_device_mesh(self._context.device.type, (self._context.world_size,))
        layers = layers_of(module)
        for layer in layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(module, mesh=mesh)
        for layer, following in itertools.pairwise(layers):
            assert isinstance(layer, FSDPModule)
            assert isinstance(following, FSDPModule)
            layer.set_modules_to_forward_prefetch([following])
        return module


def layers_of(module: torch.nn.Module) -> list[torch.nn.Module]:
    """The outermost repeated layers: children of ModuleLists (or Sequentials of several) not inside another."""
    found: list[torch.nn.Module] = []

    def walk(part: torch.nn.Module) -> None:
        for child in part.children():
            if isinstance(child, torch.nn.ModuleList | torch.nn.Sequential) and len(child) > 1:
                found.extend(layer for layer in child if any(True for _ in layer.parameters()))
            else:
                walk(child)

    walk(module)
    return found
