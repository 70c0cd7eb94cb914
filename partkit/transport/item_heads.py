"""What a program tells its ranks of each item beside its tensors: in which slot its outputs go, and its sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from partkit.transport.memory import SharedMemory


class ItemHeads:
    """The heads of ``num_slots`` items in a file's memory; that of item i is i mod ``num_slots``."""

    def __init__(self, path: Path, labels: Sequence[str], num_slots: int) -> None:
        """``labels``: the sizes that vary from item to item."""
        self._labels, self._num_slots, self._stride = labels, num_slots, 1 + len(labels)
        self._words = SharedMemory(path, num_slots * self._stride * 8).view.cast("q")

    def write(self, item: int, output_slot: int, sizes: Mapping[str, int]) -> None:
        """Tell of an item."""
        at = item % self._num_slots * self._stride
        self._words[at] = output_slot
        for offset, label in enumerate(self._labels, start=at + 1):
            self._words[offset] = sizes[label]

    def output_slot(self, item: int) -> int:
        """Where the item's outputs go."""
        return int(self._words[item % self._num_slots * self._stride])

    def sizes(self, item: int) -> dict[str, int]:
        """The item's sizes; {} where none varies."""
        at = item % self._num_slots * self._stride + 1
        return {label: int(self._words[offset]) for offset, label in enumerate(self._labels, start=at)}
