"""A rank's shards of a model whose parameters are distributed tensors on meta, each filled by name.

No rank ever holds the whole model, not even on the host: a tensor is read, cut to this rank's shard and dropped.
"""

from __future__ import annotations

import torch
from torch.distributed.tensor import DTensor, distribute_tensor

from partkit.models.sources.loaded import LoadedModel


def fill_shards(module: torch.nn.Module, loaded: LoadedModel, device: torch.device) -> None:
    """Give a built module, sharded on meta by FSDP2 or ``parallelize_module``, this rank's shards of its weights.

    Parameters that are not distributed are put on ``device`` whole; buffers follow.
    """

    def place(name: str, parameter: torch.nn.Parameter, tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(parameter, DTensor):
            return tensor.to(device)
        mesh, placements = parameter.device_mesh, parameter.placements
        if any(placement.is_partial() for placement in placements):
            raise AssertionError(f"{name} is a partial sum")
        # src_data_rank=None: every rank cuts its own shard of what it read, and nothing is sent
        return distribute_tensor(tensor.to(device), mesh, placements, src_data_rank=None)

    loaded.fill(module, place)
    for owner in module.modules():
        for leaf, buffer in owner._buffers.items():
            if buffer is not None:
                owner._buffers[leaf] = buffer.to(device)
