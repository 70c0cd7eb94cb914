"""accelerate's ``dispatch_model``: layers on several devices in one process, hooks that move each layer's inputs.

The device map is accelerate's own, balanced one. One item is in one layer at a time, so only one device computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from partkit.errors import UnsupportedError
from partkit.executors.whole.base import WholeModelExecutor
from partkit.executors.whole.peers import faults_are_reasons
from partkit.models.packages import import_package
from partkit.models.sources.loaded import LoadedModel


class AccelerateExecutor(WholeModelExecutor):
    """The module as ``from_pretrained(device_map="balanced")`` would place it."""

    def prepare(self, loaded: LoadedModel) -> torch.nn.Module:
        """Place the module's layers and run one item.

        Raises :class:`UnsupportedError` on fewer than two CUDA devices, and where accelerate itself raises.
        """
        import_accelerate()
        indexes, kind = sorted(set(self._job.device_by_place)), self._context.device.type
        if kind != "cuda" or len(indexes) < 2:
            raise UnsupportedError(
                "accelerate's dispatch_model places layers on CUDA devices, two or more, and this comparison is on "
                f"{len(indexes)} {kind} device{'s' if len(indexes) != 1 else ''}"
            )
        self._devices = [torch.device("cuda", index) for index in indexes]
        with faults_are_reasons("accelerate"):
            dispatched = dispatched_over(self._devices, loaded)
            args, kwargs = self._calls[0]
            with torch.no_grad():
                dispatched(*args, **kwargs)
        return dispatched


def dispatched_over(devices: Sequence[torch.device], loaded: LoadedModel) -> torch.nn.Module:
    """A copy of the module with its weights, layers on ``devices`` as accelerate balances them."""
    accelerate = import_accelerate()
    module = loaded.build()
    whole = list(getattr(module, "_no_split_modules", None) or [])
    room = {device.index: torch.cuda.mem_get_info(device)[0] for device in devices}
    balanced = accelerate.utils.get_balanced_memory(module, max_memory=room, no_split_module_classes=whole)
    placed = accelerate.infer_auto_device_map(module, max_memory=balanced, no_split_module_classes=whole)
    loaded.fill(module, lambda name, _parameter, tensor: tensor.to(_device_in(placed, name)))
    dispatched: torch.nn.Module = accelerate.dispatch_model(module, device_map=placed)
    return dispatched


def _device_in(placed: Mapping[str, int | str], name: str) -> int | str:
    """The device of a tensor by accelerate's map: that of the longest path in it that the name is under."""
    path = name
    while path and path not in placed:
        path = path.rpartition(".")[0]
    return placed[path]


def import_accelerate() -> Any:
    """The package. Raises :class:`MachineError` where it is not installed."""
    return import_package("accelerate", install="pip install 'accelerate>=1.0'")
