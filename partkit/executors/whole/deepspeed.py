"""DeepSpeed's tensor parallelism over all ranks: AutoTP, or its own kernels where they are asked for.

All ranks run each item together. AutoTP replaces linear layers by slices with an all-reduce, so that outputs differ
by rounding and are checked like any other's. CUDA graphs are refused by DeepSpeed with more than one rank.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from typing import Any

import torch

from partkit.executors.whole.base import WholeModelExecutor
from partkit.executors.whole.peers import faults_are_reasons
from partkit.models.packages import import_package
from partkit.models.sources.loaded import LoadedModel


class DeepSpeedExecutor(WholeModelExecutor):
    """The module under ``deepspeed.init_inference`` with AutoTP."""

    takes_streams = True
    injects_kernels = False

    def prepare(self, loaded: LoadedModel) -> torch.nn.Module:
        """Slice the module over the ranks and run one item, at which faults of injected layers show."""
        device = self._context.device
        if device.type == "cuda":
            os.environ["LOCAL_RANK"] = str(device.index)  # where DeepSpeed looks for the device
        deepspeed = import_deepspeed(device.type)
        with faults_are_reasons("deepspeed"):
            engine: torch.nn.Module = deepspeed.init_inference(
                loaded.materialise("cpu"),
                tensor_parallel={"tp_size": self._context.world_size},
                dtype=getattr(torch, self._job.model.dtype),
                replace_with_kernel_inject=self.injects_kernels,
            )
            args, kwargs = self._calls[0]
            with torch.no_grad():
                engine(*args, **kwargs)
        return engine


class InjectedDeepSpeedExecutor(DeepSpeedExecutor):
    """The same with DeepSpeed's own transformer kernels in place of the model's layers."""

    injects_kernels = True


def import_deepspeed(device_type: str) -> Any:
    """The package, set to the kind of device. Raises :class:`MachineError` where it is not installed."""
    os.environ["DS_ACCELERATOR"] = device_type
    os.environ.update(plain_architectures(os.environ))
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    return import_package("deepspeed", install="DS_BUILD_OPS=0 pip install 'deepspeed>=0.19.6'")


def plain_architectures(environment: Mapping[str, str]) -> dict[str, str]:
    """``TORCH_CUDA_ARCH_LIST`` without the letter that DeepSpeed's parser cannot read; empty where there is none.

    >>> plain_architectures({"TORCH_CUDA_ARCH_LIST": "8.0;9.0a"})
    {'TORCH_CUDA_ARCH_LIST': '8.0;9.0'}
    """
    name = "TORCH_CUDA_ARCH_LIST"
    return {name: re.sub(r"(\d)[a-z]\b", r"\1", environment[name])} if name in environment else {}
