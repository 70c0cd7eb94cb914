"""The reference experiment's FSDP: the whole model in one wrap of the older FullyShardedDataParallel.

One wrap means that all weights are gathered for each item and dropped after it, with nothing to overlap;
``forward_prefetch`` is set as it was there. Data parallel: each rank runs items of its own.
"""

from __future__ import annotations

import warnings

import torch
from torch.distributed.fsdp import FullyShardedDataParallel

from partkit.executors.whole.base import WholeModelExecutor
from partkit.executors.whole.peers import faults_are_reasons
from partkit.models.sources.loaded import LoadedModel


class Fsdp1Executor(WholeModelExecutor):
    """The module in one FullyShardedDataParallel."""

    is_data_parallel = True
    takes_streams = True

    def prepare(self, loaded: LoadedModel) -> torch.nn.Module:
        """Wrap the module and run one item, which is when FSDP1 sets itself up."""
        module = loaded.materialise(self._context.device)
        with faults_are_reasons("FullyShardedDataParallel"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is superseded by FSDP2 is why this row exists
            wrapped = FullyShardedDataParallel(
                module, device_id=self._context.device, forward_prefetch=True, use_orig_params=True
            )
            args, kwargs = self._calls[0]
            with torch.no_grad():
                wrapped(*args, **kwargs)
        return wrapped
