"""Reference outputs, which rank 0's host has in a file: on other hosts each rank has a copy of its own."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist

from partkit.executors.protocol import RankContext
from partkit.ranks.own_folder import OwnFolder

_PIECE_BYTES = 16 << 20


class References:
    """Where a rank finds each reference file that an order names."""

    def __init__(self, context: RankContext) -> None:
        self._context = context
        self._folder: OwnFolder | None = None
        self._copies: dict[str, Path] = {}

    def path(self, named: str) -> Path:
        """The file itself, or this rank's copy."""
        return self._copies.get(named, Path(named))

    def take(self, named: str) -> None:
        """Copy the file from rank 0 to all others, piece by piece; all ranks call this."""
        is_source, group = self._context.rank == 0, self._context.control
        num_bytes = torch.tensor([Path(named).stat().st_size if is_source else 0])
        dist.broadcast(num_bytes, src=0, group=group)
        with (Path(named) if is_source else self._new_copy(named)).open("rb" if is_source else "xb") as file:
            left = int(num_bytes)
            while left:
                piece = torch.empty(min(left, _PIECE_BYTES), dtype=torch.uint8)
                if is_source:
                    file.readinto(piece.numpy().data)  # type: ignore[attr-defined]
                dist.broadcast(piece, src=0, group=group)
                if not is_source:
                    file.write(piece.numpy().data)
                left -= len(piece)

    def close(self) -> None:
        """Remove the copies."""
        if self._folder is not None:
            self._folder.remove()

    def _new_copy(self, named: str) -> Path:
        self._folder = self._folder or OwnFolder()
        self._copies[named] = self._folder.path / f"reference{len(self._copies)}.safetensors"
        return self._copies[named]
