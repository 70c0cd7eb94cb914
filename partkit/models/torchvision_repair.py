"""PyPI's torchvision beside a CPU build of torch: importable, so that timm, transformers and own models are too."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def repair_torchvision() -> None:
    """Have torchvision, whoever imports it from now on in this process, declare what its library then misses.

    PyPI's wheel is made for torch with CUDA. Elsewhere its compiled operators can't be loaded, and its import fails
    since it describes two of them that aren't there. Models for classification call neither. Nothing is imported
    here: a model without torchvision doesn't pay for it.
    """
    if not any(isinstance(finder, _TorchvisionFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TorchvisionFinder())


class _TorchvisionFinder(MetaPathFinder):
    """Finds torchvision as the others do, and gives it a second try with the operators declared."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The package's spec, its execution repaired; None for every other module."""
        if fullname != "torchvision":
            return None
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = _repaired(spec.loader.exec_module)  # type: ignore[assignment, method-assign]
        return spec


def _repaired(execute: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    def execute_repaired(module: ModuleType) -> None:
        try:
            execute(module)
        except RuntimeError as error:
            if "operator torchvision::" not in str(error):
                raise  # another fault, which the package that needs torchvision tells
            import torch

            for name in _OPERATORS:
                torch.library.define(f"torchvision::{name}", _SCHEMA)
            execute(module)

    return execute_repaired
