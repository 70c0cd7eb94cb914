"""The unsplit model on one device, as its author wrote it: the reference for outputs and for speed."""

from __future__ import annotations

import torch

from partkit.executors.whole.base import WholeModelExecutor
from partkit.models.sources.loaded import LoadedModel


class SingleExecutor(WholeModelExecutor):
    """The module itself, eager, on this rank's device."""

    def prepare(self, loaded: LoadedModel) -> torch.nn.Module:
        """The whole module with its weights."""
        return loaded.materialise(self._context.device)
