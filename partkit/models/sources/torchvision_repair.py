"""PyPI's torchvision beside a CPU build of torch: importable, so that timm and transformers are too."""

from __future__ import annotations

import importlib
import importlib.util

_OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def repair_torchvision() -> None:
    """Import torchvision if it is installed; where its library doesn't fit torch, declare what it then misses.

    PyPI's wheel is made for torch with CUDA. Elsewhere its compiled operators can't be loaded, and its import fails
    since it describes two of them that aren't there. Models for classification call neither.
    """
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            return  # another fault, which the package that needs torchvision will raise
        import torch

        for name in _OPERATORS:
            torch.library.define(f"torchvision::{name}", _SCHEMA)
        importlib.import_module("torchvision")
    except ImportError:
        return
