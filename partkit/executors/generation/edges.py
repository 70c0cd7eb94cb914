"""The edges of a generation: those that the stages were cut at, and one back, from where tokens are chosen to where
they enter. Each lane has a slot of its own on every edge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from partkit.data.generate import Generate
from partkit.data.places import Place
from partkit.stages.cut import StageGraph, ValueSpec
from partkit.transport.edge import Receiver, Sender
from partkit.transport.lanes import Lanes
from partkit.transport.wiring import Wiring


class LaneEdges:
    """A rank's ends of all edges, for one stage."""

    def __init__(
        self,
        generate: Generate,
        stages: Mapping[int, Sequence[StageGraph]],
        places: Sequence[Place],
        rank: int,
        stream: torch.cuda.Stream | None,
    ) -> None:
        """``stages`` by width; ``stream`` is the rank's compute stream, None on the CPU."""
        widest = stages[max(stages)]
        (place,) = (each for each in places if each.rank == rank)
        self._own = {width: each[place.stage] for width, each in stages.items()}
        self._width, self._back = max(stages), (_token(generate.rows),)
        first, last = entry_of(widest), exit_of(widest)
        self._wiring = Wiring(
            with_edge_back(widest, generate.rows),
            places,
            rank,
            num_slots=generate.lanes,
            compute={place.index: None if stream is None else Lanes((stream,))},
        )
        receivers = self._wiring.receivers(place, lambda source: lambda _: self._received(source))
        senders = self._wiring.senders(place)
        is_split = first != last
        self.back_in: Receiver | None = receivers.pop(last) if is_split and place.stage == first else None
        self.back_out: Sender | None = senders.pop(first) if is_split and place.stage == last else None
        self.receivers, self.senders = receivers, senders

    def fit(self, lane: int, width: int) -> None:
        """Give the lane's slots the shapes of a step of that width."""
        self._width = width
        for receiver in self.receivers.values():
            receiver.fit(lane, 0)
        for target, sender in self.senders.items():
            sender.slots[lane].fit(self._own[width].sends[target])

    def drain(self) -> None:
        """Wait until all that was sent has left."""
        for sender in [*self.senders.values(), *([self.back_out] if self.back_out is not None else [])]:
            sender.drain()

    def close(self) -> None:
        """Release memory that processes share; devices must be idle."""
        self._wiring.close()

    def _received(self, source: int) -> Sequence[ValueSpec]:
        return self._own[self._width].receives.get(source, self._back)


def entry_of(stages: Sequence[StageGraph]) -> int:
    """The stage where tokens enter."""
    (first,) = (stage.index for stage in stages if "tokens" in stage.model_inputs)
    return first


def exit_of(stages: Sequence[StageGraph]) -> int:
    """The stage where the next token is chosen."""
    (last,) = (stage.index for stage in stages if stage.leaves is not None)
    return last


def with_edge_back(stages: Sequence[StageGraph], rows: int) -> list[StageGraph]:
    """The stages with the edge that takes a lane's tokens from the last to the first; one stage needs none."""
    first, last = entry_of(stages), exit_of(stages)
    made = list(stages)
    if first != last:
        back = (_token(rows),)
        made[last] = replace(made[last], sends={**made[last].sends, first: back})
        made[first] = replace(made[first], receives={**made[first].receives, last: back})
    return made


def _token(rows: int) -> ValueSpec:
    return ValueSpec("chosen", (rows,), torch.int64, (1,))
