"""What a rank of a :class:`LinksJob` does: ping-pong with every other, and measure what its device can do alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
import torch.distributed as dist

from partkit.data.examination import LinkPath
from partkit.data.orders import ExamineDevice, ExamineLinks, LinksOrder, MeasureLinks
from partkit.data.replies import DeviceExamined, LinksExamined, LinksMeasured, LinkTimes, PathTimes, Reply
from partkit.machine.device_speed import examine_device
from partkit.transport.probe import VERIFIED_BYTES, LinkProbe


class LinksWork:
    """One rank's ends of the links."""

    orders: ClassVar[Any] = LinksOrder

    def __init__(self, rank: int, indexes: tuple[int, ...], device: torch.device, control: dist.ProcessGroup) -> None:
        """``indexes``: the device of each rank."""
        self._rank, self._indexes, self._device, self._control = rank, indexes, device, control
        self._world_size = len(indexes)

    def obey(self, order: LinksOrder) -> Reply:
        """Do one order."""
        match order:
            case MeasureLinks():
                return self._measure()
            case ExamineDevice():
                return self._examine_device()
            case ExamineLinks():
                return self._examine_links(order.path)

    def _measure(self) -> LinksMeasured:
        probe = LinkProbe(self._rank, self._world_size, self._device)
        links = tuple(
            LinkTimes(ranks=pair, one_way_s=tuple(probe.one_way_s(peer))) for pair, peer in self._pairs_in_turn()
        )
        probe.close()
        on_cuda = self._device.type == "cuda"
        return LinksMeasured(
            links=links,
            device_name=torch.cuda.get_device_name(self._device) if on_cuda else "cpu",
            memory_bytes=torch.cuda.mem_get_info(self._device)[1] if on_cuda else None,
        )

    def _examine_device(self) -> DeviceExamined:
        """Ranks wait for each other, since they share cores and the way to host memory."""
        for rank in range(self._world_size):
            if rank == self._rank:
                found = examine_device(self._device)
            dist.barrier(group=self._control)
        own = self._device.index
        if own is None:
            return DeviceExamined(device=found)
        others = [index for index in self._indexes if index != own]
        return DeviceExamined(
            device=found, peers=tuple(index for index in others if torch.cuda.can_device_access_peer(own, index))
        )

    def _examine_links(self, path: LinkPath) -> LinksExamined:
        probe = LinkProbe(self._rank, self._world_size, self._device, path)
        links = []
        for pair, peer in self._pairs_in_turn():
            changed = probe.changed_bytes(peer)
            times = tuple(probe.timed(peer))
            links.append(PathTimes(ranks=pair, one_way_s=times, verified_bytes=VERIFIED_BYTES, changed_bytes=changed))
        probe.close()
        return LinksExamined(links=tuple(links))

    def _pairs_in_turn(self) -> Iterator[tuple[tuple[int, int], int]]:
        """This rank's pairs with the peer of each; every rank waits for those that it is no part of."""
        for pair in itertools.combinations(range(self._world_size), 2):
            if self._rank in pair:
                (peer,) = set(pair) - {self._rank}
                yield pair, peer
            dist.barrier(group=self._control)

    def turns(self) -> dict[int, int]:
        """There are no stages."""
        return {}

    def close(self) -> None:
        """Nothing is held that the process group needs."""
