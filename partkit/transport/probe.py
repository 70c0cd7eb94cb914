"""What a link costs: ping-pong over sizes between two ranks, over the channels that a pipeline would use.

On CUDA the rounds are queued ahead and only streams wait, as in a pipeline: the host's calls are not in the times.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from partkit.data.examination import LinkPath
from partkit.data.places import Place
from partkit.errors import MachineError
from partkit.transport.buffers import SlotBuffer
from partkit.transport.edge import Event, Inbound, Outbound
from partkit.transport.gloo import GlooChannel
from partkit.transport.gpu_edges import GpuEdge, open_gpu_edges
from partkit.transport.lanes import Lanes

SIZES_BYTES = (1024, 16384, 131072, 1048576, 4194304, 16777216)
_ROUNDS = 20
_LARGE_ROUNDS = 4
"""Of the largest sizes on the CPU, where a round takes tens of milliseconds and no overhead shows."""
_LARGE_BYTES = 4194304
_BATCHES = 5
_VERIFIED_ROUNDS = 2
VERIFIED_BYTES = _VERIFIED_ROUNDS * SIZES_BYTES[-1]
"""Random bytes that :meth:`LinkProbe.changed_bytes` sends each way."""


@dataclass(frozen=True)
class LinkEnds:
    """This rank's ends of a link in both directions, with the buffer that what comes is put in."""

    inbound: Inbound
    outbound: Outbound
    came: torch.Tensor


class LinkProbe:
    """Links of this rank to every other; all ranks make one, and :meth:`close` it when devices are idle."""

    def __init__(self, rank: int, world_size: int, device: torch.device, path: LinkPath = "copies") -> None:
        """``path``: of GPUs, what a pipeline uses between them or one of the others; CPUs have gloo alone."""
        self._rank, self._edges = rank, None
        self._compute = torch.cuda.Stream(device) if device.type == "cuda" else None
        came = {
            peer: torch.zeros(SIZES_BYTES[-1], dtype=torch.uint8, device=device)
            for peer in range(world_size)
            if peer != rank
        }
        if self._compute is None:
            gloo = {peer: GlooChannel(peer, tag=0) for peer in came}
            self._ends = {peer: LinkEnds(gloo[peer], gloo[peer], data) for peer, data in came.items()}
            return
        every = [Place(index, index, 0, 1, index) for index in range(world_size)]
        self._edges = open_gpu_edges(
            [GpuEdge(target, (source,), 1, SIZES_BYTES[-1]) for source, target in itertools.permutations(every, 2)],
            rank,
            compute={rank: Lanes((self._compute,))},
            slots={(rank, peer): [SlotBuffer((), device, data)] for peer, data in came.items()},
            num_slots=1,
            only_nccl=path == "nccl",
            only_staged=path == "host",
        )
        self._ends = {
            peer: LinkEnds(self._edges.inbound[peer, rank], self._edges.outbound[rank, peer], data)
            for peer, data in came.items()
        }

    def one_way_s(self, peer: int) -> list[float]:
        """Seconds one way to ``peer`` and back, halved, for each of :data:`SIZES_BYTES`; the peer calls this too.

        What comes back is compared bit for bit: bad peer copies are a real fault. Raises :class:`MachineError`.
        """
        seconds = []
        for size in SIZES_BYTES:
            seconds.append(self._measure(size, peer))
            if not torch.equal(self._ends[peer].came[:size], self._pattern(size)):
                raise MachineError(f"{size} bytes sent between ranks came back changed", hint="run 'partkit doctor'")
        return seconds

    def timed(self, peer: int) -> list[float]:
        """The same without a look at what came."""
        return [self._measure(size, peer) for size in SIZES_BYTES]

    def changed_bytes(self, peer: int) -> int:
        """Of :data:`VERIFIED_BYTES` random bytes from ``peer``, those that came otherwise; the peer calls this too.

        Each round has bytes of its own, so that what an earlier one left behind is no excuse.
        """
        ends, changed = self._ends[peer], 0
        for turn in range(_VERIFIED_ROUNDS):
            for source in sorted((self._rank, peer)):
                draw = torch.Generator().manual_seed(1_000 * turn + source)
                drawn = torch.randint(256, (SIZES_BYTES[-1],), dtype=torch.uint8, generator=draw)
                data = drawn.to(ends.came.device)
                if source == self._rank:
                    self._settle()
                    ends.outbound.send(0, data, None, 0).wait()
                    self._settle()
                else:
                    ends.came.copy_(~data)
                    self._settle()
                    ends.inbound.receive(0, ends.came, None).wait()
                    self._settle()
                    changed += int((ends.came != data).sum())
        return changed

    def close(self) -> None:
        """Release memory that processes share."""
        if self._edges is not None:
            self._edges.close()

    def _pattern(self, size: int) -> torch.Tensor:
        device = next(iter(self._ends.values())).came.device
        return (torch.arange(size, device=device) % 251).to(torch.uint8)

    def _measure(self, size: int, peer: int) -> float:
        ends, leads = self._ends[peer], self._rank < peer
        came, sent = ends.came[:size], self._pattern(size)
        came.zero_()
        self._settle()
        rounds = _LARGE_ROUNDS if self._compute is None and size >= _LARGE_BYTES else _ROUNDS
        samples = []
        for _ in range(_BATCHES + 1):
            begin = time.perf_counter()
            self._play(ends, sent, came, rounds, leads=leads)
            self._settle()
            samples.append((time.perf_counter() - begin) / (2 * rounds))
        return sorted(samples[1:])[_BATCHES // 2]

    def _play(self, ends: LinkEnds, sent: torch.Tensor, came: torch.Tensor, rounds: int, *, leads: bool) -> None:
        """Rounds of ping-pong; the end that does not lead sends back what it received."""
        after: Event | None = None
        for _ in range(rounds):
            arrival = ends.inbound.receive(0, came, after)
            if leads:
                departure = ends.outbound.send(0, sent, after, 0)
                arrival.wait()
            else:
                arrival.wait()
                departure = ends.outbound.send(0, came, self._mark(), 0)
            departure.wait()
            after = self._mark()

    def _mark(self) -> Event | None:
        return None if self._compute is None else self._compute.record_event()

    def _settle(self) -> None:
        if self._compute is not None:
            torch.cuda.synchronize(self._compute.device)


def fit_link(seconds: Sequence[float]) -> tuple[float, float]:
    """Latency in seconds and bytes per second from one-way times of :data:`SIZES_BYTES`.

    The latency is the smallest size's time less its own transfer, the bandwidth the largest difference quotient's.

    >>> latency_s, bytes_per_s = fit_link([1e-5 + size / 1e9 for size in SIZES_BYTES])
    >>> round(latency_s, 9), round(bytes_per_s)
    (1e-05, 1000000000)
    """
    slope = (seconds[-1] - seconds[0]) / (SIZES_BYTES[-1] - SIZES_BYTES[0])
    bytes_per_s = 1.0 / max(slope, 1e-13)
    return max(seconds[0] - SIZES_BYTES[0] / bytes_per_s, 0.0), bytes_per_s
