"""Who talks to whom: ranks of each stage, and the receivers and senders of one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.distributed as dist

from partkit.plan import Plan
from partkit.stages import StageGraph
from partkit.transport.buffers import SlotBuffer
from partkit.transport.gloo import GlooReceiver, GlooSender
from partkit.transport.nccl import NcclReceiver, NcclSender


class Receiver(Protocol):
    """The end of an edge that takes items in, slot by slot."""

    slots: list[SlotBuffer]

    def post(self, slot: int, item: int) -> None:
        """Ask for an item; the slot's former item must have been consumed."""

    def wait(self, slot: int) -> None:
        """Order what follows behind the arrival of the slot's item."""


class Sender(Protocol):
    """The end of an edge that gives items out, slot by slot."""

    slots: list[SlotBuffer]

    def ready(self, slot: int) -> None:
        """Order what follows behind the departure of the slot's former item."""

    def send(self, slot: int, item: int) -> None:
        """Send the slot, once what fills it is done."""


@dataclass(frozen=True)
class Place:
    """A rank's part in a pipeline: one replica of one stage. It runs items ``replica mod num_replicas``."""

    stage: int
    replica: int
    num_replicas: int


def places(plan: Plan) -> tuple[Place, ...]:
    """The place of each rank: stage by stage, replica by replica."""
    return tuple(
        Place(stage.index, replica, len(stage.devices))
        for stage in plan.stages
        for replica in range(len(stage.devices))
    )


def ranks_of(plan: Plan, stage: int) -> list[int]:
    """The ranks that run a stage, by replica."""
    return [rank for rank, place in enumerate(places(plan)) if place.stage == stage]


class Wiring:
    """Opens every edge of a plan in the same order on each rank and keeps this rank's ends, by other stage."""

    def __init__(
        self,
        plan: Plan,
        stages: Sequence[StageGraph],
        rank: int,
        *,
        num_slots: int,
        compute: torch.cuda.Stream | None,
    ) -> None:
        self._plan, self._compute, self._num_slots = plan, compute, num_slots
        self._groups = {} if compute is None else _pair_groups(plan, stages)
        mine = stages[places(plan)[rank].stage]
        self._rank = rank
        self.receivers: Mapping[int, Receiver] = {
            source: self._receiver(mine.index, source, mine) for source in mine.receives
        }
        self.senders: Mapping[int, Sender] = {target: self._sender(mine.index, target, mine) for target in mine.sends}

    def _receiver(self, here: int, source: int, stage: StageGraph) -> Receiver:
        values, peers = stage.receives[source], ranks_of(self._plan, source)
        if self._compute is None:
            return GlooReceiver(values, peers, self._num_slots, _tag(self._plan, source, here))
        groups = [self._groups[(peer, self._rank)] for peer in peers]
        return NcclReceiver(values, peers, groups, self._num_slots, self._compute)

    def _sender(self, here: int, target: int, stage: StageGraph) -> Sender:
        values, peers = stage.sends[target], ranks_of(self._plan, target)
        if self._compute is None:
            return GlooSender(values, peers, self._num_slots, _tag(self._plan, here, target))
        groups = [self._groups[(self._rank, peer)] for peer in peers]
        return NcclSender(values, peers, groups, self._num_slots, self._compute)


def _tag(plan: Plan, source: int, target: int) -> int:
    return 1 + source * len(plan.stages) + target


def _pair_groups(plan: Plan, stages: Sequence[StageGraph]) -> dict[tuple[int, int], dist.ProcessGroup]:
    """A communicator for each pair of ranks that an edge joins; a shared one would serialise the edges."""
    groups: dict[tuple[int, int], dist.ProcessGroup] = {}
    for stage in stages:
        for target in stage.sends:
            for source_rank in ranks_of(plan, stage.index):
                for target_rank in ranks_of(plan, target):
                    groups[(source_rank, target_rank)] = dist.new_group([source_rank, target_rank], backend="nccl")
    return groups
