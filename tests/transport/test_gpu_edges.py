"""Edges between ranks of one host as CUDA ranks open them, with threads for streams and no GPU."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from partkit.data.places import Place
from partkit.stages.cut import ValueSpec
from partkit.transport import gpu_edges, whereabouts
from partkit.transport.buffers import SlotBuffer, packed_bytes
from partkit.transport.edge import Receiver, Sender
from partkit.transport.gpu_edges import GpuEdge, open_gpu_edges
from partkit.transport.lanes import Lanes
from partkit.transport.memory import SharedMemory
from partkit.transport.whereabouts import Whereabouts, has_peer_access
from tests.transport.thread_queue import ThreadQueue

VALUES = (ValueSpec("hidden", (5,), torch.float32, (1,)), ValueSpec("flag", (1,), torch.bool, (1,)))
NUM_ITEMS, NUM_SLOTS = 20, 2
HERE = Whereabouts(host=1, gpu=10, index=0, draw=os.getpid())
"""Of every rank: the GPU of each is another, which none of them sees."""
CPU = torch.device("cpu")


def test_two_replicas_send_to_one_place_through_memory_that_all_map(tmp_path: Path) -> None:
    multiprocessing.set_forkserver_preload([open_gpu_edges.__module__])  # imports torch once, not in each process
    mp.start_processes(_rank, args=(_free_port(), str(tmp_path)), nprocs=3, start_method="forkserver")
    assert not list(tmp_path.iterdir()), "a file of shared memory was left behind"


def _rank(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=3)
    gpu_edges._SHARED_MEMORY = Path(folder)
    gpu_edges.StreamQueue = lambda compute, num_slots: ThreadQueue(rank)  # type: ignore[assignment,misc]
    gpu_edges.gather = lambda device: [Whereabouts(1, 10 + index, 0, 7) for index in range(3)]  # type: ignore[assignment]
    whereabouts._gpu = lambda index: 99  # type: ignore[assignment]
    SharedMemory.pin = lambda self: None  # type: ignore[method-assign]
    sources = (Place(0, 0, 0, 2, rank=0), Place(1, 0, 1, 2, rank=1))
    target = Place(2, 1, 0, 1, rank=2)
    slots = [SlotBuffer(VALUES, CPU) for _ in range(NUM_SLOTS)]
    opened = open_gpu_edges(
        [GpuEdge(target, sources, 2, packed_bytes(VALUES))],
        rank,
        compute={rank: Lanes((SimpleNamespace(device=CPU),) * 2)},  # type: ignore[arg-type]
        slots={(2, 0): slots},
        num_slots=NUM_SLOTS,
        only_nccl=False,
    )
    if rank == 2:
        _take(Receiver(VALUES, [opened.inbound[0, 2], opened.inbound[1, 2]], slots))
    else:
        _give(Sender([opened.outbound[rank, 2]], slots), rank)
    dist.barrier()
    opened.close()
    dist.destroy_process_group()


def _give(sender: Sender, replica: int) -> None:
    for turn, item in enumerate(range(replica, NUM_ITEMS, 2)):
        slot = turn % NUM_SLOTS
        sender.ready(slot)
        sender.slots[slot].tensors[0].fill_(item)
        sender.slots[slot].tensors[1].fill_(item % 3 == 0)
        sender.send(slot, item)
    sender.drain()


def _take(receiver: Receiver) -> None:
    got: list[tuple[Sequence[float], bool]] = []
    for item in range(NUM_SLOTS):
        receiver.post(item, item)
    for item in range(NUM_ITEMS):
        slot = item % NUM_SLOTS
        receiver.wait(slot)
        hidden, flag = receiver.tensors(slot)
        got.append((hidden.tolist(), bool(flag)))
        if item + NUM_SLOTS < NUM_ITEMS:
            receiver.post(slot, item + NUM_SLOTS)
    assert got == [([float(item)] * 5, item % 3 == 0) for item in range(NUM_ITEMS)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"gpu": 10, "index": 0}, True),
        ({"host": 2}, False),
        ({"gpu": 55}, False),
    ],
    ids=["a GPU that this process sees too", "the same GPU", "another host", "a GPU that it does not see"],
)
def test_peer_access_is_of_one_host_and_of_devices_seen(
    changes: dict[str, int], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NCCL_P2P_DISABLE", raising=False)
    monkeypatch.setattr(torch.cuda, "can_device_access_peer", lambda one, other: True)
    there: dict[str, Any] = {"host": 1, "gpu": 11, "index": 1, "draw": 0} | changes
    assert has_peer_access(HERE, Whereabouts(**there), gpu_of={0: 10, 1: 11}.__getitem__) is expected


def test_nccl_p2p_disable_stands_for_a_machine_without_peer_access(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_P2P_DISABLE", "1")
    assert has_peer_access(HERE, HERE) is False
    monkeypatch.setenv("NCCL_P2P_DISABLE", "0")
    assert has_peer_access(HERE, HERE) is True
