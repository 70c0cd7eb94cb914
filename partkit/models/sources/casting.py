"""What ``--dtype`` changes: real floating-point tensors, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import nn

PRECISIONS = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
"""The real floating-point dtypes that cast to one another by value, the coarsest first.

Complex numbers cast to a real dtype lose their imaginary part, and 8-bit numbers belong to scales beside them.
"""

_ModuleT = TypeVar("_ModuleT", bound=nn.Module)


def cast(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The tensor in ``dtype`` if it is real and floating-point, as it is otherwise."""
    return tensor.to(dtype) if tensor.dtype in PRECISIONS else tensor


def cast_module(module: _ModuleT, dtype: torch.dtype) -> _ModuleT:
    """Give real floating-point parameters and buffers a dtype, in place; ``Module.to`` would cast complex ones too."""
    module._apply(lambda tensor: cast(tensor, dtype))  # type: ignore[no-untyped-call]
    return module


def precision_of(tensors: Iterable[torch.Tensor], *, default: str) -> str:
    """The coarsest dtype among a model's tensors, which its outputs cannot be finer than: ``bfloat16``."""
    found = {tensor.dtype for tensor in tensors}
    return next((str(dtype).removeprefix("torch.") for dtype in PRECISIONS if dtype in found), default)
