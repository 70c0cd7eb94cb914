"""The protocol of copies between ranks, on threads that take operations in the order that streams would."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest
import torch

from partkit.errors import MachineError
from partkit.stages.cut import ValueSpec
from partkit.transport.buffers import SlotBuffer
from partkit.transport.copies import CopyReceiver, CopySender, Mailbox
from partkit.transport.edge import Receiver, Sender
from partkit.transport.memory import SharedMemory
from tests.transport.thread_queue import Happening, ThreadQueue

CPU = torch.device("cpu")
NUM_ITEMS = 60
VALUES = [ValueSpec("hidden", (7,), torch.float32, (1,)), ValueSpec("mask", (3,), torch.int64, (1,))]


@pytest.mark.parametrize("num_slots", [1, 2, 4])
@pytest.mark.parametrize("num_senders", [1, 2])
@pytest.mark.parametrize("is_staged", [False, True])
def test_every_item_arrives_whole_and_in_its_turn(
    num_slots: int, num_senders: int, is_staged: bool, tmp_path: Path
) -> None:
    slots = [SlotBuffer(VALUES, CPU) for _ in range(num_slots)]
    size = slots[0].bytes.numel()
    theirs, ours = (
        Mailbox(tmp_path / "box", num_channels=num_senders, num_slots=num_slots, slot_bytes=size) for _ in range(2)
    )
    if is_staged:
        ours.stage()
    assert theirs.is_staged is is_staged
    addresses = [slot.bytes.data_ptr() for slot in slots]
    inbound = [
        CopyReceiver(ThreadQueue(i), ours.flags(i), ours.landings(i) if is_staged else None) for i in range(num_senders)
    ]
    outbound = [
        CopySender(ThreadQueue(10 + i), theirs.flags(i), theirs.landings(i) if is_staged else addresses)
        for i in range(num_senders)
    ]
    receiver = Receiver(VALUES, inbound, slots)
    senders = [Sender([each], [SlotBuffer(VALUES, CPU) for _ in range(num_slots)]) for each in outbound]
    threads = [threading.Thread(target=_send, args=(senders[i], i, num_senders, num_slots)) for i in range(num_senders)]
    for thread in threads:
        thread.start()
    got, consumed = [], [Happening() for _ in range(NUM_ITEMS)]
    for item in range(min(num_slots, NUM_ITEMS)):
        receiver.post(item % num_slots, item)
    for item in range(NUM_ITEMS):
        slot = item % num_slots
        receiver.wait(slot)
        got.append([tensor.tolist() for tensor in receiver.tensors(slot)])
        if item + num_slots < NUM_ITEMS:
            receiver.post(slot, item + num_slots, consumed[item])
            consumed[item].happen()
    for thread in threads:
        thread.join()
    assert got == [[[float(item)] * 7, [item] * 3] for item in range(NUM_ITEMS)]


def test_what_arrives_for_one_lane_does_not_wait_until_another_has_consumed_its_own(tmp_path: Path) -> None:
    slots = [SlotBuffer(VALUES, CPU) for _ in range(2)]
    box = Mailbox(tmp_path / "box", num_channels=1, num_slots=2, slot_bytes=slots[0].bytes.numel())
    inbound = CopyReceiver(ThreadQueue(0), box.flags(0), None, frees=ThreadQueue(1))
    receiver = Receiver(VALUES, [inbound], slots)
    outbound = CopySender(ThreadQueue(2), box.flags(0), [slot.bytes.data_ptr() for slot in slots])
    sender = Sender([outbound], [SlotBuffer(VALUES, CPU) for _ in range(2)])
    consumed = Happening()
    for item in range(2):
        receiver.post(item, item)
        sender.send(item, item)
    receiver.wait(0)
    receiver.post(0, 2, consumed)  # lane 0 still computes
    receiver.wait(1)
    consumed.happen()
    sender.send(0, 2)
    receiver.wait(0)


def _send(sender: Sender, replica: int, num_replicas: int, num_slots: int) -> None:
    """A place that fills its slots only once they have left, and computes for a while."""
    draw = random.Random(100 + replica)
    for turn, item in enumerate(range(replica, NUM_ITEMS, num_replicas)):
        slot = turn % num_slots
        sender.ready(slot)
        for tensor in sender.slots[slot].tensors:
            tensor.fill_(item)
        filled = Happening()
        sender.send(slot, item, filled)
        time.sleep(draw.random() * 1e-3)
        filled.happen()
    sender.drain()


def test_what_a_receiver_tells_of_its_slots_reaches_the_senders(tmp_path: Path) -> None:
    ours, theirs = (Mailbox(tmp_path / "box", num_channels=1, num_slots=3, slot_bytes=10) for _ in range(2))
    told = [(bytes(range(slot, slot + 64)), slot * 512) for slot in range(3)]
    for slot, (handle, offset) in enumerate(told):
        ours.publish(slot, handle, offset)
    assert [theirs.published(slot) for slot in range(3)] == told


def test_memory_that_cannot_be_had_is_told_before_anybody_writes_there(tmp_path: Path) -> None:
    with pytest.raises(MachineError) as raised:
        SharedMemory(tmp_path / "nowhere" / "box", 4096)
    assert str(raised.value) == (
        f"4096 bytes of shared memory cannot be had at {tmp_path}/nowhere/box: [Errno 2] No such file or directory: "
        f"'{tmp_path}/nowhere/box'; make room in {tmp_path}/nowhere (in a container: --shm-size or --ipc=host)"
    )
    with pytest.raises(MachineError, match=r"No space left on device|File too large"):
        SharedMemory(tmp_path / "box", 2**60)
