"""The channels between ranks on CUDA: copies where two share a host, NCCL elsewhere."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from partkit.data.places import Place
from partkit.errors import MachineError
from partkit.transport.buffers import SlotBuffer
from partkit.transport.copies import CopyReceiver, CopySender, Mailbox
from partkit.transport.edge import Inbound, Outbound
from partkit.transport.nccl import NcclChannel
from partkit.transport.stream_queue import StreamQueue, export_address, import_address
from partkit.transport.whereabouts import gather, has_peer_access

_SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class GpuEdge:
    """What a place takes of one stage, from each of its replicas on other ranks."""

    target: Place
    sources: tuple[Place, ...]
    num_channels: int
    """Replicas of the source stage, on whatever rank."""
    slot_bytes: int


class GpuEdges:
    """Opens a rank's ends of all edges; every rank makes one, with the same ``edges`` in the same order."""

    def __init__(
        self,
        edges: Sequence[GpuEdge],
        rank: int,
        *,
        compute: Mapping[int, torch.cuda.Stream],
        slots: Mapping[tuple[int, int], Sequence[SlotBuffer]],
        num_slots: int,
        only_nccl: bool,
    ) -> None:
        """``slots`` are the buffers of this rank's receivers, by place and source stage."""
        self.inbound: dict[tuple[int, int], Inbound] = {}
        """By source and target place."""
        self.outbound: dict[tuple[int, int], Outbound] = {}
        self._rank, self._compute, self._num_slots = rank, compute, num_slots
        self._boxes: list[Mailbox] = []
        device = next(iter(compute.values())).device
        self._ranks = gather(device)
        copied = []
        for edge in edges:
            near = [place for place in edge.sources if not only_nccl and self._share_a_host(place, edge.target)]
            for source in edge.sources:
                if source not in near:
                    self._open_nccl(source, edge.target)
            if near:
                copied.append((edge, near))
        paths = [self._path(edge) for edge, _ in copied]
        try:
            for (edge, near), path in zip(copied, paths, strict=True):
                if edge.target.rank == rank:
                    self._open_receivers(edge, near, path, slots[edge.target.index, edge.sources[0].stage])
            _all_here()
            for (edge, near), path in zip(copied, paths, strict=True):
                if any(place.rank == rank for place in near):
                    self._open_senders(edge, near, path)
            _all_here()
        finally:
            for (edge, _), path in zip(copied, paths, strict=True):
                if edge.target.rank == rank:
                    path.unlink(missing_ok=True)

    def close(self) -> None:
        """Unpin shared memory; devices must be idle."""
        for box in self._boxes:
            box.close()
        self._boxes.clear()

    def _share_a_host(self, one: Place, other: Place) -> bool:
        return self._ranks[one.rank].host == self._ranks[other.rank].host

    def _path(self, edge: GpuEdge) -> Path:
        base = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir())
        return base / f"partkit-{self._ranks[0].draw:x}-{edge.sources[0].stage}-{edge.target.index}"

    def _open_nccl(self, source: Place, target: Place) -> None:
        """Every rank creates every group, whether it is a member or not, as torch.distributed demands."""
        group = dist.new_group([source.rank, target.rank], backend="nccl")
        for here, peer in ((source, target), (target, source)):
            if here.rank == self._rank:
                assert group is not None
                channel = NcclChannel(peer.rank, group, self._num_slots, self._compute[here.index])
                self._put(source, target, channel, channel)

    def _open_receivers(self, edge: GpuEdge, near: Sequence[Place], path: Path, slots: Sequence[SlotBuffer]) -> None:
        box = self._box(edge, path)
        if all(has_peer_access(self._ranks[place.rank], self._ranks[edge.target.rank]) for place in near):
            for slot, buffer in enumerate(slots):
                box.publish(slot, *export_address(buffer.bytes.data_ptr()))
        else:
            box.stage()
        for source in near:
            landings = box.landings(source.replica) if box.is_staged else None
            queue = StreamQueue(self._compute[edge.target.index], self._num_slots)
            self._put(source, edge.target, CopyReceiver(queue, box.flags(source.replica), landings), None)

    def _open_senders(self, edge: GpuEdge, near: Sequence[Place], path: Path) -> None:
        if not path.exists():
            raise MachineError(
                f"ranks {near[0].rank} and {edge.target.rank} are on one host and do not share {path.parent}",
                hint="let their containers share it (--ipc=host), or use the executor pipeline-nccl",
            )
        box = self._box(edge, path)
        slots = [] if box.is_staged else [import_address(*box.published(slot)) for slot in range(self._num_slots)]
        for source in near:
            if source.rank == self._rank:
                targets = box.landings(source.replica) if box.is_staged else slots
                queue = StreamQueue(self._compute[source.index], self._num_slots)
                self._put(source, edge.target, None, CopySender(queue, box.flags(source.replica), targets))

    def _box(self, edge: GpuEdge, path: Path) -> Mailbox:
        box = Mailbox(path, num_channels=edge.num_channels, num_slots=self._num_slots, slot_bytes=edge.slot_bytes)
        box.pin()
        self._boxes.append(box)
        return box

    def _put(self, source: Place, target: Place, inbound: Inbound | None, outbound: Outbound | None) -> None:
        if inbound is not None:
            self.inbound[source.index, target.index] = inbound
        if outbound is not None:
            self.outbound[source.index, target.index] = outbound


def _all_here() -> None:
    """Barrier over gloo: NCCL's own would open another communicator."""
    dist.all_reduce(torch.zeros(1))
