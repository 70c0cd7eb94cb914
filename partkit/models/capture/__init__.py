"""Capture: an nn.Module and example inputs -> one clean graph."""

from partkit.models.capture.captured import (
    Capture,
    TensorInfo,
    has_known_shape,
    is_pick,
    is_random,
    is_repeatable,
    module_path,
    operation_name,
    structure_digest,
    value_bytes,
    view_base,
    views_up_to_storage,
)
from partkit.models.capture.export import capture
from partkit.models.capture.randomness import random_draws

__all__ = [
    "Capture",
    "TensorInfo",
    "capture",
    "has_known_shape",
    "is_pick",
    "is_random",
    "is_repeatable",
    "module_path",
    "operation_name",
    "random_draws",
    "structure_digest",
    "value_bytes",
    "view_base",
    "views_up_to_storage",
]
