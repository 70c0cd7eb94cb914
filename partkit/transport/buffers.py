"""The values of one edge in one byte buffer per slot: one send for all of them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch

from partkit.stages.cut import ValueSpec

ALIGNMENT = 256
"""Bytes; every dtype and vector load is aligned at this."""


def pack(sizes: Sequence[int], alignment: int = ALIGNMENT) -> tuple[list[int], int]:
    """Offsets of values of ``sizes`` bytes in one buffer, and the buffer's bytes.

    >>> pack([10, 4], alignment=8)
    ([0, 16], 24)
    """
    offsets: list[int] = []
    end = 0
    for size in sizes:
        offsets.append(end)
        end += -(-size // alignment) * alignment
    return offsets, end


def packed_bytes(values: Sequence[ValueSpec]) -> int:
    """Bytes of a buffer that holds the values; at least one."""
    return max(pack([value.num_bytes for value in values])[1], 1)


def value_at(data: torch.Tensor, offset: int, value: ValueSpec) -> torch.Tensor:
    """The bytes from ``offset`` on, seen as a value."""
    return data[offset : offset + value.num_bytes].view(value.dtype).as_strided(value.shape, value.stride)


def copy_alone(target: torch.Tensor, source: torch.Tensor) -> None:
    """Copy between host tensors of one shape in the calling thread, and without the interpreter's lock.

    ``copy_`` shares what is large with further threads: where ranks keep the cores busy, it waits 50 times as long for
    those as the copy takes.
    """
    source = source.detach()
    is_same = target.dtype == source.dtype and target.shape == source.shape
    if is_same and _is_plain(target) and _is_plain(source):
        ctypes.memmove(target.data_ptr(), source.data_ptr(), target.numel() * target.itemsize)
    else:
        target.copy_(source)


def _is_plain(tensor: torch.Tensor) -> bool:
    """Whether the tensor's bytes lie in its memory one after the other, as they are."""
    if type(tensor) is not torch.Tensor or tensor.layout is not torch.strided or tensor.device.type != "cpu":
        return False
    return tensor.is_contiguous() and not tensor.is_conj() and not tensor.is_neg()


class SlotBuffer:
    """One slot of an edge: a byte buffer and typed tensors over it, one for each value in order."""

    def __init__(self, values: Sequence[ValueSpec], device: torch.device, data: torch.Tensor | None = None) -> None:
        """``values`` at their largest, in ``data`` or in memory of the buffer's own."""
        self.bytes = torch.zeros(packed_bytes(values), dtype=torch.uint8, device=device) if data is None else data
        self._values: Sequence[ValueSpec] | None = None
        self.fit(values)

    def fit(self, values: Sequence[ValueSpec]) -> None:
        """Hold these values from now on: the same ones in other, not larger shapes."""
        if values is self._values:
            return
        offsets, total = pack([value.num_bytes for value in values])
        self._values = values
        self.used = self.bytes[: max(total, 1)]
        """What has to be sent."""
        self.tensors = [value_at(self.bytes, offset, value) for value, offset in zip(values, offsets, strict=True)]
