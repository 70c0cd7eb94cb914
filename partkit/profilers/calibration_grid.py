"""The operations that a calibration times, over the sizes that models have, as gauges; no model and no weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from partkit.data.device_calibration import Family
from partkit.data.gauges import Gauge

_ROWS = (1, 16, 128, 1024)
_MATRICES = ((128, 128), (256, 256), (256, 1024), (768, 768), (768, 3072), (3072, 768), (768, 21128), (2048, 2048))
_LARGE_MATRICES = ((4096, 4096), (4096, 11008))
_ATTENTION = ((1, 2, 128, 64), (1, 12, 128, 64), (8, 12, 128, 64), (1, 12, 512, 64), (1, 32, 128, 128))
"""Batch, heads, sequence, size of a head."""
_ELEMENTS = ((128, 128), (128, 768), (1024, 768), (1024, 3072), (4096, 4096))
_CONVOLUTIONS = (
    ((1, 3, 224, 224), (64, 3, 7, 7), 2),
    ((1, 64, 56, 56), (64, 64, 3, 3), 1),
    ((1, 256, 56, 56), (64, 256, 1, 1), 1),
    ((1, 256, 14, 14), (256, 256, 3, 3), 1),
    ((8, 256, 14, 14), (256, 256, 3, 3), 1),
    ((1, 512, 7, 7), (512, 512, 3, 3), 1),
)
_FAMILIES: dict[Family, tuple[str, ...]] = {
    "product": ("mm", "addmm", "bmm", "baddbmm", "matmul", "linear"),
    "attention": ("scaled_dot_product",),
    "convolution": ("conv",),
}


def family_of(operation: str) -> Family:
    """The family of an operation by its name in torch.ops.

    >>> family_of("aten.addmm"), family_of("aten.convolution"), family_of("aten.gelu")
    ('product', 'convolution', 'other')
    """
    name = operation.removeprefix("aten.").lstrip("_")
    return next((family for family, starts in _FAMILIES.items() if name.startswith(starts)), "other")


def gauges_for(device: str, dtypes: Sequence[str]) -> list[Gauge]:
    """All operations in each dtype; a CPU is spared the largest, of which one call takes a second."""
    return [gauge for dtype in dtypes for gauge in _gauges(device, dtype)]


def _gauges(device: str, dtype: str) -> Iterator[Gauge]:
    def tensor(*shape: int) -> dict[str, Any]:
        strides = list(itertools.accumulate(reversed(shape[1:]), lambda a, b: a * b, initial=1))
        return {"tensor": {"shape": list(shape), "stride": strides[::-1], "dtype": dtype}}

    def gauge(operation: str, *args: Any) -> Gauge:
        return Gauge(nodes=(), operation=operation, args=args)

    matrices = _MATRICES + (_LARGE_MATRICES if device == "cuda" else ())
    for (inner, outer), rows in itertools.product(matrices, _ROWS):
        yield gauge("aten.linear.default", tensor(1, rows, inner), tensor(outer, inner), tensor(outer))
    for shape in _ATTENTION:
        yield gauge("aten.scaled_dot_product_attention.default", tensor(*shape), tensor(*shape), tensor(*shape))
    for rows, columns in _ELEMENTS:
        x, row = tensor(1, rows, columns), tensor(columns)
        yield gauge("aten.layer_norm.default", x, [columns], row, row)
        yield gauge("aten.gelu.default", x)
        yield gauge("aten.add.Tensor", x, x)
        yield gauge("aten.mul.Tensor", x, x)
        yield gauge("aten.softmax.int", x, -1)
        yield gauge("aten.tanh.default", x)
    for picture, kernel, stride in _CONVOLUTIONS:
        side = kernel[-1] // 2
        yield gauge("aten.conv2d.default", tensor(*picture), tensor(*kernel), None, [stride] * 2, [side] * 2)


def operation_of(gauge: Gauge) -> torch._ops.OpOverload:
    """The operation that a gauge names."""
    _, name, overload = gauge.operation.split(".")
    found: torch._ops.OpOverload = getattr(getattr(torch.ops.aten, name), overload)
    return found
