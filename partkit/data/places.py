"""The places of a plan: one replica of one stage each, and the rank that hosts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from partkit.data.plan import Plan


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
