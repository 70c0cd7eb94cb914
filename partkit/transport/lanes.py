"""The compute streams of a place on CUDA: items in different lanes compute side by side on one device.

    slot      0    1    2    3    4    5    6    7          K slots, a multiple of L
    lane      0    1    2    3    0    1    2    3          slot mod L, each with a stream of its own

What is ordered by a stream (graphs of slots that share memory, a library's workspace) is so within a lane only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Lanes:
    """One stream of a device for each lane."""

    streams: tuple[torch.cuda.Stream, ...]

    def __len__(self) -> int:
        return len(self.streams)

    @property
    def device(self) -> torch.device:
        """Where they compute."""
        return self.streams[0].device

    def lane(self, slot: int) -> int:
        """The lane of a slot."""
        return slot % len(self.streams)

    def of(self, slot: int) -> torch.cuda.Stream:
        """The stream that computes what is in a slot."""
        return self.streams[self.lane(slot)]


def lanes_on(device: torch.device, count: int) -> Lanes:
    """``count`` new streams of a CUDA device."""
    return Lanes(tuple(torch.cuda.Stream(device) for _ in range(count)))
