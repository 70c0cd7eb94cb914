"""What stopped torch.export: the model's own line, the operation, and what to try."""

from __future__ import annotations

import linecache
import re
from pathlib import Path
from traceback import FrameSummary, extract_tb

import torch
from torch.fx.experimental.symbolic_shapes import ConstraintViolationError, GuardOnDataDependentSymNode

from partkit.data.model import ModelSpec
from partkit.errors import CaptureError

_NO_MODELS = (f"{Path(torch.__file__).parent}/", f"{Path(__file__).parent.parent}/", "<")
"""Beginnings of the files whose lines are not the model's: torch, partkit and generated code."""

_BY_MESSAGE = (
    (r"\.(numpy|tolist)\(\) is not supported", "keep the computation in torch operations"),
    (r"Constraints violated|specializ", "leave --dynamic out for a size that the model's code fixes"),
)
_DATA_DEPENDENT = "choose with torch.where or torch.cond instead of Python's if, while or int()"


def capture_error(spec: ModelSpec, error: Exception) -> CaptureError:
    """The error for a model that torch.export gave up on; ``error`` becomes its cause."""
    place = _own_line(error)
    where = f" at {_told(place)}" if place is not None else ""
    hint = f"{_advice(error)}; 'partkit compare {spec.source} --with single,dispatch' runs it without capture"
    return CaptureError(f"torch.export cannot capture {spec.source}{where}: {_reason(error)}", hint=hint)


def _own_line(error: BaseException) -> FrameSummary | None:
    """The innermost line of the model's own code on the way to the error."""
    frames = [frame for frame in extract_tb(error.__traceback__) if not frame.filename.startswith(_NO_MODELS)]
    return frames[-1] if frames else None


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
