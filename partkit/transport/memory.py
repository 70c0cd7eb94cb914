"""Memory that several processes of a host map."""

from __future__ import annotations

from pathlib import Path

import torch

from partkit.errors import MachineError


class SharedMemory:
    """A file's bytes, the same for all processes that open it; it may be unlinked once all have it open."""

    def __init__(self, path: Path, size: int) -> None:
        self._is_pinned = False
        try:
            self.bytes = torch.from_file(str(path), shared=True, size=size, dtype=torch.uint8)
        except RuntimeError as error:
            raise MachineError(f"{size} bytes of shared memory cannot be had at {path}: {error}") from None

    def pin(self) -> None:
        """Register the memory with CUDA: devices copy from and to it at once. Raises :class:`MachineError`."""
        code = torch.cuda.cudart().cudaHostRegister(self.bytes.data_ptr(), self.bytes.numel(), 0)
        if int(code) != 0:
            raise MachineError(f"CUDA cannot register {self.bytes.numel()} bytes of host memory (error {int(code)})")
        self._is_pinned = True

    def close(self) -> None:
        """Undo :meth:`pin`; must come before the memory goes."""
        if self._is_pinned:
            torch.cuda.cudart().cudaHostUnregister(self.bytes.data_ptr())
            self._is_pinned = False
