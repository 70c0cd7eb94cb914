"""What a rank of a :class:`LinksJob` does: ping-pong with every other."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import torch
import torch.distributed as dist

from partkit.data.orders import MeasureLinks
from partkit.data.replies import LinksMeasured, LinkTimes
from partkit.transport.probe import LinkProbe


class LinksWork:
    """One rank's ends of the links."""

    orders: ClassVar[Any] = MeasureLinks

    def __init__(self, rank: int, world_size: int, device: torch.device, control: dist.ProcessGroup) -> None:
        self._rank, self._world_size, self._device, self._control = rank, world_size, device, control

    def obey(self, _: MeasureLinks) -> LinksMeasured:
        """Measure the pairs in turn; every rank waits for those that it is no part of."""
        links = []
        probe = LinkProbe(self._rank, self._world_size, self._device)
        for pair in itertools.combinations(range(self._world_size), 2):
            if self._rank in pair:
                (peer,) = set(pair) - {self._rank}
                links.append(LinkTimes(ranks=pair, one_way_s=tuple(probe.one_way_s(peer))))
            dist.barrier(group=self._control)
        probe.close()
        on_cuda = self._device.type == "cuda"
        return LinksMeasured(
            links=tuple(links),
            device_name=torch.cuda.get_device_name(self._device) if on_cuda else "cpu",
            memory_bytes=torch.cuda.mem_get_info(self._device)[1] if on_cuda else None,
        )

    def turns(self) -> dict[int, int]:
        """There are no stages."""
        return {}

    def close(self) -> None:
        """Nothing is held that the process group needs."""
