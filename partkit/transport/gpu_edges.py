"""The channels between ranks on CUDA: copies where two share a host, NCCL elsewhere."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.distributed as dist

from partkit.data.places import Place
from partkit.errors import MachineError
from partkit.transport.buffers import SlotBuffer
from partkit.transport.copies import CopyReceiver, CopySender, Mailbox
from partkit.transport.edge import Inbound, Outbound
from partkit.transport.lanes import Lanes
from partkit.transport.nccl import NcclChannel
from partkit.transport.stream_queue import StreamQueue, export_address, import_address
from partkit.transport.whereabouts import Whereabouts, gather, has_peer_access

_SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class GpuEdge:
    """What a place takes of one stage, from each of its replicas on other ranks."""

    target: Place
    sources: tuple[Place, ...]
    num_channels: int
    """Replicas of the source stage, on whatever rank."""
    slot_bytes: int


@dataclass(frozen=True)
class GpuEdges:
    """A rank's ends of all edges, by source and target place."""

    inbound: dict[tuple[int, int], Inbound]
    outbound: dict[tuple[int, int], Outbound]
    boxes: list[Mailbox]
    """Memory that processes share."""

    def close(self) -> None:
        """Unpin shared memory; devices must be idle."""
        for box in self.boxes:
            box.close()
        self.boxes.clear()


def open_gpu_edges(
    edges: Sequence[GpuEdge],
    rank: int,
    *,
    compute: Mapping[int, Lanes],
    slots: Mapping[tuple[int, int], Sequence[SlotBuffer]],
    num_slots: int,
    only_nccl: bool,
    only_staged: bool = False,
) -> GpuEdges:
    """Open a rank's ends of all edges; every rank calls this, with the same ``edges`` in the same order.

        phase               every rank         rank of the target            ranks of the sources
        1  meet             gather hosts
        2  NCCL             a group a pair
        3  publish                             make mailbox, export slots
                            wait for all
        4  take                                                              open mailbox, import slots
                            wait for all       remove the mailbox's name

    ``slots`` are the buffers of this rank's receivers, by place and source stage. ``only_staged`` has copies go by way
    of host memory where devices could reach each other too. Raises :class:`MachineError` where
    ranks of one host do not share its memory.
    """
    device = next(iter(compute.values())).device
    opening = _Opening(gather(device), rank, compute, num_slots, only_staged=only_staged)
    copied = [] if only_nccl else [near for edge in edges if (near := opening.on_one_host(edge)).sources]
    kept = {(near.target.index, source.index) for near in copied for source in near.sources}
    for edge in edges:
        for source in edge.sources:
            if (edge.target.index, source.index) not in kept:
                opening.open_nccl(source, edge.target)
    own = [edge for edge in copied if edge.target.rank == rank]
    try:
        for edge in own:
            opening.publish(edge, slots[edge.target.index, edge.sources[0].stage])
        _wait_for_all()
        for edge in copied:
            if any(source.rank == rank for source in edge.sources):
                opening.take(edge)
        _wait_for_all()
    finally:
        for edge in own:
            opening.path(edge).unlink(missing_ok=True)
    return opening.opened


class _Opening:
    """The phases of :func:`open_gpu_edges`, each for one edge."""

    def __init__(
        self,
        ranks: Sequence[Whereabouts],
        rank: int,
        compute: Mapping[int, Lanes],
        num_slots: int,
        *,
        only_staged: bool,
    ) -> None:
        self._ranks, self._rank, self._compute, self._num_slots = ranks, rank, compute, num_slots
        self._only_staged = only_staged
        self.opened = GpuEdges({}, {}, [])

    def on_one_host(self, edge: GpuEdge) -> GpuEdge:
        """The edge with those sources alone that share the target's host."""
        host = self._ranks[edge.target.rank].host
        return replace(edge, sources=tuple(place for place in edge.sources if self._ranks[place.rank].host == host))

    def path(self, edge: GpuEdge) -> Path:
        """The edge's mailbox, under a name that all ranks know."""
        base = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir())
        return base / f"partkit-{self._ranks[0].draw:x}-{edge.sources[0].stage}-{edge.target.index}"

    def open_nccl(self, source: Place, target: Place) -> None:
        """Every rank creates every group, whether it is a member or not, as torch.distributed demands."""
        group = dist.new_group([source.rank, target.rank], backend="nccl")
        for here, peer in ((source, target), (target, source)):
            if here.rank == self._rank:
                assert group is not None
                channel = NcclChannel(peer.rank, group, self._num_slots, self._compute[here.index])
                self._put(source, target, channel, channel)

    def publish(self, edge: GpuEdge, slots: Sequence[SlotBuffer]) -> None:
        """Make the edge's mailbox, tell in it where the target's slots are, and open the ends that receive."""
        box = self._box(edge)
        target = self._ranks[edge.target.rank]
        is_staged = self._only_staged or not all(
            has_peer_access(self._ranks[place.rank], target) for place in edge.sources
        )
        if not is_staged:
            for slot, buffer in enumerate(slots):
                box.publish(slot, *export_address(buffer.bytes.data_ptr()))
        else:
            box.stage()
        for source in edge.sources:
            landings = box.landings(source.replica) if box.is_staged else None
            lanes = self._compute[edge.target.index]
            queue = StreamQueue(lanes, self._num_slots)
            frees = queue if len(lanes) == 1 else StreamQueue(lanes, self._num_slots)
            self._put(source, edge.target, CopyReceiver(queue, box.flags(source.replica), landings, frees), None)

    def take(self, edge: GpuEdge) -> None:
        """Open the ends of this rank that send, into what the mailbox tells."""
        path = self.path(edge)
        if not path.exists():
            raise MachineError(
                f"ranks {edge.sources[0].rank} and {edge.target.rank} are on one host and do not share {path.parent}",
                hint="let their containers share it (--ipc=host), or use the executor pipeline-nccl",
            )
        box = self._box(edge)
        slots = [] if box.is_staged else [import_address(*box.published(slot)) for slot in range(self._num_slots)]
        for source in edge.sources:
            if source.rank == self._rank:
                targets = box.landings(source.replica) if box.is_staged else slots
                queue = StreamQueue(self._compute[source.index], self._num_slots)
                self._put(source, edge.target, None, CopySender(queue, box.flags(source.replica), targets))

    def _box(self, edge: GpuEdge) -> Mailbox:
        path, num_channels = self.path(edge), edge.num_channels
        box = Mailbox(path, num_channels=num_channels, num_slots=self._num_slots, slot_bytes=edge.slot_bytes)
        box.pin()
        self.opened.boxes.append(box)
        return box

    def _put(self, source: Place, target: Place, inbound: Inbound | None, outbound: Outbound | None) -> None:
        if inbound is not None:
            self.opened.inbound[source.index, target.index] = inbound
        if outbound is not None:
            self.opened.outbound[source.index, target.index] = outbound


def _wait_for_all() -> None:
    """Barrier over gloo: NCCL's own would open another communicator."""
    dist.all_reduce(torch.zeros(1))
