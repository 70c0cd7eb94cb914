"""Who talks to whom: places of a plan, the ranks that host them, and the ends of a place's edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist

from partkit.plan import Plan
from partkit.stages import StageGraph
from partkit.transport.edge import Channel, Receiver, Sender
from partkit.transport.gloo import GlooChannel
from partkit.transport.local import LocalChannel
from partkit.transport.nccl import NcclChannel


@dataclass(frozen=True)
class Place:
    """One replica of one stage, on the rank that hosts it. It runs items ``replica mod num_replicas``."""

    index: int
    stage: int
    replica: int
    num_replicas: int
    rank: int


def places(plan: Plan, host_by_place: Sequence[int] = ()) -> tuple[Place, ...]:
    """Every place, stage by stage and replica by replica; without ``host_by_place`` each has a rank of its own."""
    pairs = [(stage, replica) for stage in plan.stages for replica in range(len(stage.devices))]
    return tuple(
        Place(index, stage.index, replica, len(stage.devices), host_by_place[index] if host_by_place else index)
        for index, (stage, replica) in enumerate(pairs)
    )


class Wiring:
    """The channels between all places, opened in the same order on each rank.

    ``compute`` has the compute stream of each place that this rank hosts, None on the CPU.
    """

    def __init__(
        self,
        stages: Sequence[StageGraph],
        all_places: Sequence[Place],
        rank: int,
        *,
        num_slots: int,
        compute: Mapping[int, torch.cuda.Stream | None],
    ) -> None:
        self._stages, self._places, self._num_slots, self._compute = stages, all_places, num_slots, compute
        self._channels: dict[tuple[int, int], Channel] = {}
        on_cuda = any(stream is not None for stream in compute.values())
        for source, target in self._pairs():
            group = None
            if on_cuda and source.rank != target.rank:  # every rank makes every group, its own or not
                group = dist.new_group([source.rank, target.rank], backend="nccl")
            if rank in (source.rank, target.rank):
                self._channels[(source.index, target.index)] = self._channel(source, target, rank, group)

    def receivers(self, place: Place) -> dict[int, Receiver]:
        """The ends that take a place's values in, by the stage that they come from."""
        return {
            source: Receiver(
                values,
                [self._channels[(peer.index, place.index)] for peer in self._of_stage(source)],
                self._num_slots,
                self._device(place),
            )
            for source, values in self._stages[place.stage].receives.items()
        }

    def senders(self, place: Place) -> dict[int, Sender]:
        """The ends that give a place's values out, by the stage that they go to."""
        return {
            target: Sender(
                values,
                [self._channels[(place.index, peer.index)] for peer in self._of_stage(target)],
                self._num_slots,
                self._device(place),
            )
            for target, values in self._stages[place.stage].sends.items()
        }

    def _pairs(self) -> list[tuple[Place, Place]]:
        return [
            (source, target)
            for stage in self._stages
            for other in stage.sends
            for source in self._of_stage(stage.index)
            for target in self._of_stage(other)
        ]

    def _of_stage(self, stage: int) -> list[Place]:
        return [place for place in self._places if place.stage == stage]

    def _device(self, place: Place) -> torch.device:
        stream = self._compute[place.index]
        return torch.device("cpu") if stream is None else stream.device

    def _channel(self, source: Place, target: Place, rank: int, group: dist.ProcessGroup | None) -> Channel:
        if source.rank == target.rank:
            return LocalChannel(self._compute[source.index], self._compute[target.index])
        here, peer = (source, target.rank) if source.rank == rank else (target, source.rank)
        stream = self._compute[here.index]
        if stream is None:
            return GlooChannel(peer, tag=1 + source.index * len(self._places) + target.index)
        assert group is not None
        return NcclChannel(peer, group, self._num_slots, stream)
