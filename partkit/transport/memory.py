"""Memory that several processes of a host map."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import torch

from partkit.errors import MachineError


class SharedMemory:
    """A file's bytes, the same for all processes that open it; it may be unlinked once all have it open."""

    def __init__(self, path: Path, size: int) -> None:
        """Open the file, and make it where it is not there yet. Raises :class:`MachineError` where it cannot be."""
        self._is_pinned = False
        try:
            with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, size)  # a folder that is too small would kill who writes there
                self.view = memoryview(mmap.mmap(file.fileno(), size))
                """The bytes for Python: mapped as long as this, a part of it, or a tensor over either is held."""
            self.bytes = torch.frombuffer(self.view, dtype=torch.uint8)
        except (OSError, ValueError) as error:
            raise MachineError(
                f"{size} bytes of shared memory cannot be had at {path}: {error}",
                hint=f"make room in {path.parent} (in a container: --shm-size or --ipc=host)",
            ) from None

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
