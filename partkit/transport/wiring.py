"""Opens the channels between all places, and gives a rank the ends of its own places' edges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from partkit.data.places import Place
from partkit.stages.cut import StageGraph
from partkit.transport.buffers import SlotBuffer, packed_bytes
from partkit.transport.edge import Inbound, Outbound, Receiver, Sender, ValuesOf
from partkit.transport.gloo import GlooChannel
from partkit.transport.gpu_edges import GpuEdge, GpuEdges, open_gpu_edges
from partkit.transport.lanes import Lanes
from partkit.transport.local import WAIT_S, LocalChannel


class Wiring:
    """The channels between all places, opened in the same order on each rank.

    ``compute`` has the lanes of each place that this rank hosts, None on the CPU. CUDA ranks of one host
    are joined by the copy engines, unless ``only_nccl``.
    """

    def __init__(
        self,
        stages: Sequence[StageGraph],
        all_places: Sequence[Place],
        rank: int,
        *,
        num_slots: int,
        compute: Mapping[int, Lanes | None],
        only_nccl: bool = False,
    ) -> None:
        self._stages, self._places, self._rank = stages, all_places, rank
        self._num_slots, self._compute = num_slots, compute
        self._inbound: dict[tuple[int, int], Inbound] = {}
        self._outbound: dict[tuple[int, int], Outbound] = {}
        self._slots = {
            (place.index, source): [SlotBuffer(values, self._device(place)) for _ in range(num_slots)]
            for place in all_places
            if place.rank == rank
            for source, values in stages[place.stage].receives.items()
        }
        self._local: list[LocalChannel] = []
        streams = {index: stream for index, stream in compute.items() if stream is not None}
        self._gpu_edges = self._open_on_gpus(streams, only_nccl=only_nccl) if streams else None
        for source, target in self._pairs():
            if source.rank == target.rank == rank:
                local = LocalChannel(compute[source.index], compute[target.index], num_slots)
                self._inbound[source.index, target.index] = self._outbound[source.index, target.index] = local
                self._local.append(local)
            elif not streams and rank in (source.rank, target.rank):
                peer = target.rank if source.rank == rank else source.rank
                gloo = GlooChannel(peer, tag=1 + source.index * len(all_places) + target.index)
                self._inbound[source.index, target.index] = self._outbound[source.index, target.index] = gloo

    def receivers(self, place: Place, values_from: Callable[[int], ValuesOf] | None = None) -> dict[int, Receiver]:
        """The ends that take a place's values in, by the stage that they come from.

        ``values_from`` gives what a stage sends of an item, where shapes vary.
        """
        return {
            source: Receiver(
                values,
                [self._inbound[peer.index, place.index] for peer in self._of_stage(source)],
                self._slots[place.index, source],
                values_of=None if values_from is None else values_from(source),
            )
            for source, values in self._stages[place.stage].receives.items()
        }

    def senders(self, place: Place) -> dict[int, Sender]:
        """The ends that give a place's values out, by the stage that they go to."""
        return {
            target: Sender(
                [self._outbound[place.index, peer.index] for peer in self._of_stage(target)],
                [SlotBuffer(values, self._device(place)) for _ in range(self._num_slots)],
            )
            for target, values in self._stages[place.stage].sends.items()
        }

    def in_one_thread(self, *, is_one: bool) -> None:
        """Whether one thread serves all places of this rank from now on: it must not wait for itself."""
        for channel in self._local:
            channel.wait_s = 0.0 if is_one else WAIT_S

    def close(self) -> None:
        """Release memory that processes share; devices must be idle."""
        if self._gpu_edges is not None:
            self._gpu_edges.close()

    def _open_on_gpus(self, streams: Mapping[int, Lanes], *, only_nccl: bool) -> GpuEdges:
        opened = open_gpu_edges(
            list(self._edges_between_ranks()),
            self._rank,
            compute=streams,
            slots=self._slots,
            num_slots=self._num_slots,
            only_nccl=only_nccl,
        )
        self._inbound.update(opened.inbound)
        self._outbound.update(opened.outbound)
        return opened

    def _edges_between_ranks(self) -> Iterator[GpuEdge]:
        for target in self._places:
            for stage, values in self._stages[target.stage].receives.items():
                sources = self._of_stage(stage)
                elsewhere = tuple(place for place in sources if place.rank != target.rank)
                if elsewhere:
                    yield GpuEdge(target, elsewhere, len(sources), packed_bytes(values))

    def _pairs(self) -> Iterator[tuple[Place, Place]]:
        for target in self._places:
            for stage in self._stages[target.stage].receives:
                yield from ((source, target) for source in self._of_stage(stage))

    def _of_stage(self, stage: int) -> list[Place]:
        return [place for place in self._places if place.stage == stage]

    def _device(self, place: Place) -> torch.device:
        stream = self._compute[place.index]
        return torch.device("cpu") if stream is None else stream.device
