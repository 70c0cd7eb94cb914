"""What stopped torch.export: the model's own line, the operation, and what to try."""

from __future__ import annotations

import linecache
import re
from pathlib import Path
from traceback import FrameSummary, extract_tb

import torch
from torch import nn
from torch.fx.experimental.symbolic_shapes import ConstraintViolationError, GuardOnDataDependentSymNode

from partkit.data.model import ModelSpec
from partkit.errors import CaptureError
from partkit.models.refusals import without_capture

_NO_MODELS = (f"{Path(torch.__file__).parent}/", f"{Path(__file__).parents[2]}/", "<")
"""Beginnings of the files whose lines are not the model's: torch, partkit and generated code."""
_STANDARD = f"{Path(linecache.__file__).parent}/"
_PACKAGES = re.compile(r"/(site|dist)-packages/(?!sympy/)")
"""Packages hold models (transformers), but lie within the standard library's folder; sympy is torch's own tool."""

_BY_MESSAGE = (
    (r"\.(numpy|tolist)\(\) is not supported", "keep the computation in torch operations"),
    (r"Constraints violated|specializ", "leave --dynamic out for a size that the model's code fixes"),
    (
        r"^Unsupported input type",
        "feed it tensors, numbers, text and containers of these, made outside of it (a device as text)",
    ),
    (r"functorch|fake tensor in the exported program", "compute derivatives, and what runs in threads, outside of it"),
    (r"inference tensor", "make the module outside of torch.inference_mode()"),
    (r"no fake impl registered", "tell the operator's output shape with its register_fake"),
)
_DATA_DEPENDENT = "choose with torch.where or torch.cond instead of Python's if, while or int()"


def capture_error(spec: ModelSpec, error: Exception, module: nn.Module | None = None) -> CaptureError:
    """The error for a model that torch.export gave up on; ``error`` becomes its cause.

    Where no line of the model is on the way to the error, the ``forward`` of ``module`` stands for it.
    """
    place = _own_line(error)
    told = _told(place) if place is not None else _forward_of(module)
    where = f" at {told}" if told else ""
    hint = f"{_advice(error)}; {without_capture(spec.source)}"
    return CaptureError(f"torch.export cannot capture {spec.source}{where}: {_reason(error)}", hint=hint)


def _own_line(error: BaseException) -> FrameSummary | None:
    """The innermost line of the model's own code on the way to the error."""
    frames = [frame for frame in extract_tb(error.__traceback__) if not _is_machinery(frame.filename)]
    return frames[-1] if frames else None


def _is_machinery(filename: str) -> bool:
    if filename.startswith(_NO_MODELS):
        return True
    package = _PACKAGES.search(filename)
    return (filename.startswith(_STANDARD) and package is None) or "/site-packages/sympy/" in filename


def _forward_of(module: nn.Module | None) -> str | None:
    """Where a module's own ``forward`` begins; None for one of torch's, or without a source."""
    code = getattr(getattr(type(module), "forward", None), "__code__", None)
    if code is None or _is_machinery(code.co_filename):
        return None
    return f"{code.co_filename}:{code.co_firstlineno} in forward of {type(module).__name__}"


def _told(frame: FrameSummary) -> str:
    code = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
    return f"{frame.filename}:{frame.lineno} in {frame.name} ({code})"


def _reason(error: Exception) -> str:
    operation = getattr(error, "func", None)  # fake tensors name the operator that they cannot follow
    if operation is not None:
        return f"{operation} gives a result that only its data decide"
    if isinstance(error, GuardOnDataDependentSymNode):
        return "Python asks for a value that only the data decide"
    message = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _advice(error: Exception) -> str:
    if isinstance(error, GuardOnDataDependentSymNode) or hasattr(error, "func"):
        return _DATA_DEPENDENT
    if isinstance(error, ConstraintViolationError):
        return _BY_MESSAGE[1][1]
    found = (advice for pattern, advice in _BY_MESSAGE if re.search(pattern, str(error)))
    return next(found, "change that line, or leave it out of forward")
