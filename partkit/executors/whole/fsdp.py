"""Fully sharded data parallel (FSDP2): each rank runs items of its own and gathers each layer's weights as it goes.

A data-parallel way: rates are per rank and add up. The next layer's gather is started while one computes. A layer
keeps its gathered weights after use in ``fsdp-replicated``, so that each rank holds the whole model after one item.
"""

from __future__ import annotations

import itertools

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from partkit.executors.protocol import RankContext
from partkit.executors.whole.base import WholeModelExecutor
from partkit.executors.whole.layers import layers_of
from partkit.executors.whole.shards import fill_shards
from partkit.models.sources.loaded import LoadedModel


class FsdpExecutor(WholeModelExecutor):
    """The module sharded over all ranks, layer by layer."""

    is_data_parallel = True
    reshards = True

    def prepare(self, loaded: LoadedModel) -> torch.nn.Module:
        """Shard every layer, then the rest, and chain the prefetches; each rank reads the weights of its shards."""
        module = loaded.build()
        mesh = init_device_mesh(self._context.device.type, (self._context.world_size,))
        layers = list(layers_of(module).values())
        for layer in layers:
            fully_shard(layer, mesh=mesh, reshard_after_forward=self.reshards)
        fully_shard(module, mesh=mesh, reshard_after_forward=self.reshards)
        for layer, following in itertools.pairwise(layers):
            assert isinstance(layer, FSDPModule)
            assert isinstance(following, FSDPModule)
            layer.set_modules_to_forward_prefetch([following])
        fill_shards(module, loaded, self._context.device)
        return module


class ReplicatedFsdpExecutor(FsdpExecutor):
    """The same without giving gathered weights back: a replica on each rank after the first item."""

    reshards = False

    def __init__(self, context: RankContext) -> None:
        super().__init__(context)
        self.warnings.append("every rank holds the whole model after the first item")
