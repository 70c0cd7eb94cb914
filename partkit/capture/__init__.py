"""Capture: an nn.Module and example inputs -> one clean graph."""

from partkit.capture.captured import (
    Capture,
    TensorInfo,
    has_known_shape,
    is_pick,
    module_path,
    structure_digest,
    value_bytes,
)
from partkit.capture.export import capture

__all__ = [
    "Capture",
    "TensorInfo",
    "capture",
    "has_known_shape",
    "is_pick",
    "module_path",
    "structure_digest",
    "value_bytes",
]
