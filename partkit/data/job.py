"""What a group of ranks is asked to be: one executor, one plan, one kind of device."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from partkit.data.document import Record
from partkit.data.model import ModelSpec
from partkit.data.plan import Plan

DeviceType = Literal["cpu", "cuda"]
LoopGraph = Literal["auto", "on", "off"]
"""auto: where the host takes longer over an item than the device."""


class Job(Record):
    """The whole order for a group of ranks, written once and read by each rank."""

    executor: str
    model: ModelSpec
    sizes: dict[str, int] = Field(default_factory=dict)
    """Batch and sequence of this run's items, where they may vary and are not the largest."""
    plan: Plan | None = None
    device: DeviceType = "cpu"
    devices: tuple[int, ...] = (0,)
    """Device index of each rank."""
    host_by_place: tuple[int, ...] = ()
    """Rank that hosts each place (stage by stage, replica by replica); empty: each has a rank of its own."""
    device_by_place: tuple[int, ...] = ()
    """Device index of each place; empty: its rank's."""
    threads: int = Field(default=1, ge=1)
    """Intra-op threads of each rank on the CPU."""
    num_slots: int = Field(default=2, ge=1)
    """Items that an edge can hold at once."""
    num_inputs: int = Field(default=4, ge=1)
    """Distinct synthetic items that a run cycles through."""
    num_streams: int = Field(default=1, ge=1)
    """CUDA streams that executors of whole items deal their items to, where they can."""
    loop_graph: LoopGraph = "auto"
    """Whether a pipeline's ranks put their loop over many items into one CUDA graph."""
    allow_code: bool = False
    timeout_s: float = Field(default=600.0, gt=0)

    @property
    def fed(self) -> ModelSpec:
        """The model as this run feeds it."""
        return self.model.resized(self.sizes)

    @property
    def num_ranks(self) -> int:
        """Processes in the group."""
        return len(self.devices)

    def devices_of(self, rank: int) -> tuple[int, ...]:
        """Device indexes that a rank computes on."""
        if not self.device_by_place:
            return (self.devices[rank],)
        hosts = self.host_by_place
        return tuple(sorted({index for host, index in zip(hosts, self.device_by_place, strict=True) if host == rank}))
