"""A stage's tensors, read or made by several threads at once and copied to its device through pinned memory.

    thread 1   read A | A to pinned, pinned to device (copy engine) . . . | read D ...
    thread 2   read B          | B to pinned, pinned to device . . . | read E ...

A seeded tensor is drawn by one core, a mapped one is read page by page: one thread alone gives 0.5 to 2 GB/s where the
link to a GPU takes 20 and more. Each thread holds one tensor on the host at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from partkit.machine.devices import num_cores

Read = Callable[[str], torch.Tensor]
"""A tensor on the CPU by name; safe to call from several threads."""

_MAX_THREADS = 16
_PINNED_BYTES = 2**24
"""Of each of a thread's two pinned buffers: one is filled while the other is copied from."""


@dataclass
class Loads:
    """What a process has brought to GPUs so far: bytes, and seconds from the first read to the last copy."""

    num_bytes: int = 0
    seconds: float = 0.0
    tell: Callable[[int], None] | None = None
    """Is told the bytes of tensors that are there, whatever their device, by one thread at a time."""
    _placed_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def place(self, tensor: torch.Tensor) -> torch.Tensor:
        """Count a tensor that is there."""
        if self.tell is not None:
            with self._lock:
                self._placed_bytes += tensor.nbytes
                self.tell(self._placed_bytes)
        return tensor


LOADS = Loads()
"""Of this process, whose executor is loaded once."""


def load_tensors(names: Sequence[str], read: Read, device: torch.device) -> dict[str, torch.Tensor]:
    """The named tensors on ``device``, complete when this returns, whatever stream uses them then.

    Raises what ``read`` raises, of the first name that fails.
    """
    distinct = list(dict.fromkeys(names))
    if not distinct:
        return {}
    local = threading.local()

    def place(name: str) -> torch.Tensor:
        tensor = read(name)
        if device.type != "cuda" or tensor.device == device or not _is_plain(tensor):
            return LOADS.place(tensor.to(device))
        if not hasattr(local, "copier"):
            local.copier = _Copier(device)
        copier: _Copier = local.copier
        return LOADS.place(copier.copy(tensor))

    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()  # memory that threads allocate may have been freed on it
    begin = time.perf_counter()
    with ThreadPoolExecutor(max_workers=min(_MAX_THREADS, num_cores(), len(distinct))) as threads:
        placed = dict(zip(distinct, threads.map(place, distinct), strict=True))
    if device.type == "cuda":  # on the host what is mapped is read when it is used
        LOADS.num_bytes += sum(tensor.nbytes for tensor in placed.values())
        LOADS.seconds += time.perf_counter() - begin
    return placed


def _is_plain(tensor: torch.Tensor) -> bool:
    """True where the tensor's bytes are all there is to it."""
    return (
        tensor.layout == torch.strided
        and tensor.is_contiguous()
        and not tensor.is_complex()
        and not tensor.is_quantized
        and type(tensor) in (torch.Tensor, torch.nn.Parameter)
    )


class _Copier:
    """One thread's way to a GPU: two pinned buffers and a stream."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._pinned = [torch.empty(_PINNED_BYTES, dtype=torch.uint8, pin_memory=True) for _ in range(2)]
        self._free = [torch.cuda.Event() for _ in range(2)]

    def copy(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor on the device, complete."""
        with torch.cuda.device(self._device):
            made = torch.empty_like(tensor, device=self._device)
            source, target = tensor.detach().view(-1).view(torch.uint8), made.view(-1).view(torch.uint8)
            with torch.cuda.stream(self._stream):
                for turn, start in enumerate(range(0, source.numel(), _PINNED_BYTES)):
                    piece = source[start : start + _PINNED_BYTES]
                    pinned, free = self._pinned[turn % 2][: piece.numel()], self._free[turn % 2]
                    free.synchronize()
                    pinned.copy_(piece)
                    target[start : start + piece.numel()].copy_(pinned, non_blocking=True)
                    free.record()
            self._stream.synchronize()
        return made
