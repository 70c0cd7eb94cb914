"""The order of turns, on the CPU: streams are threads, and all that a rank queues shares one of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch

from partkit.data.places import Place
from partkit.executors.pipeline.order import turns_in_order
from partkit.stages.cut import ValueSpec
from partkit.transport.buffers import SlotBuffer
from partkit.transport.copies import CopyReceiver, CopySender, Flags
from partkit.transport.edge import Receiver, Sender
from partkit.transport.lanes import Lanes
from partkit.transport.local import LocalChannel
from tests.transport.thread_queue import Happening, ThreadQueue

NUM_ITEMS = 12
EDGES = {1: [0], 2: [0, 1], 3: [0, 1, 2]}
"""Of four stages that read of every stage before them, the stages that each reads of."""
VALUE = (ValueSpec("hidden", (3,), torch.int64, (1,)),)


def chain(num_stages: int, replicas: int = 1) -> list[Place]:
    pairs = [(stage, replica) for stage in range(num_stages) for replica in range(replicas if stage else 1)]
    return [Place(i, stage, r, replicas if stage else 1, i % 2) for i, (stage, r) in enumerate(pairs)]


def items_of(place: Place) -> Sequence[int]:
    return range(place.replica, NUM_ITEMS, place.num_replicas)


def test_a_chain_takes_its_turns_as_clock_ticks() -> None:
    found = [(place.stage, turn) for place, turn in turns_in_order(chain(3), {1: [0], 2: [1]}, 2, lambda _: range(3))]
    assert found == [(0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (2, 0), (1, 2), (2, 1), (2, 2)]


@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize("num_slots", [1, 2, 5])
def test_whatever_a_turn_needs_has_come_before_it(num_slots: int, replicas: int) -> None:
    all_places = chain(4, replicas)
    taken: set[tuple[int, int]] = set()
    for place, turn in turns_in_order(all_places, EDGES, num_slots, items_of):
        item = items_of(place)[turn]
        for source in EDGES.get(place.stage, []):
            assert (source, item) in taken
        for target in (stage for stage, sources in EDGES.items() if place.stage in sources):
            before = item - num_slots * (replicas if target else 1)  # the item whose slot this one takes there
            assert before < 0 or (target, before) in taken
        taken.add((place.stage, item))
    assert taken == {(stage, item) for stage in range(4) for item in range(NUM_ITEMS)}


class OneQueue:
    """All streams of a rank, which share one hardware queue: whatever waits holds up all that was queued behind it."""

    def __init__(self, seed: int) -> None:
        self.thread = ThreadQueue(seed)
        self.follow, self.take, self.give, self.copy = (
            self.thread.follow,
            self.thread.take,
            self.thread.give,
            self.thread.copy,
        )

    def done(self, slot: int) -> Work:
        return Work(self, self.thread.done(slot))

    def run(self, work: Callable[[], None]) -> None:
        self.thread._work.put(work)


class Work:
    """What was queued, as a stream's handle."""

    def __init__(self, queue: OneQueue, end: Happening) -> None:
        self._queue, self._end = queue, end

    def wait(self) -> None:
        self._queue.follow(self._end)

    def hold(self, queue: OneQueue) -> None:
        queue.follow(self._end)


class Stage:
    """Gives the sum of what it receives, its number and the item's, by the steps of a StageRunner."""

    def __init__(self, stage: int, queue: OneQueue, num_slots: int) -> None:
        self.stage, self.queue, self.num_slots = stage, queue, num_slots
        self.receivers: list[Receiver] = []
        self.senders: list[Sender] = []
        self.results: list[int] = []

    def start(self) -> None:
        for item in range(min(self.num_slots, NUM_ITEMS)):
            self._post(item, None)

    def step(self, item: int) -> None:
        slot = item % self.num_slots
        for receiver in self.receivers:
            receiver.wait(slot)
        for sender in self.senders:
            sender.ready(slot)
        self.queue.run(lambda: self._compute(item, slot))
        computed = self.queue.thread.done(slot)
        if item + self.num_slots < NUM_ITEMS:
            self._post(item + self.num_slots, computed)
        for sender in self.senders:
            sender.send(slot, item, computed)  # type: ignore[arg-type]

    def _post(self, item: int, consumed: Any) -> None:
        for receiver in self.receivers:
            receiver.post(item % self.num_slots, item, consumed)

    def _compute(self, item: int, slot: int) -> None:
        total = item + self.stage + sum(int(receiver.tensors(slot)[0].sum()) for receiver in self.receivers)
        for sender in self.senders:
            sender.slots[slot].tensors[0].fill_(total)
        self.results.append(total)


def joined(num_slots: int, queues: Sequence[OneQueue], flags: torch.Tensor) -> list[Stage]:
    """Four stages, in turn on two ranks: what they send within a rank is copied, between ranks under flags."""
    stages = [Stage(index, queues[index % 2], num_slots) for index in range(4)]
    addresses: Iterator[int] = iter(range(flags.data_ptr(), flags.data_ptr() + flags.numel() * 4, 4))
    cpu = torch.device("cpu")
    for target, sources in EDGES.items():
        for source in sources:
            landing = [SlotBuffer(VALUE, cpu) for _ in range(num_slots)]
            leaving = [SlotBuffer(VALUE, cpu) for _ in range(num_slots)]
            if source % 2 == target % 2:
                channel = LocalChannel(None, None, num_slots)
                channel._copies, channel._target, channel.wait_s = queues[source % 2], Lanes((queues[target % 2],)), 0.0  # type: ignore
                inbound, outbound = channel, channel
            else:
                pairs = [Flags(next(addresses), next(addresses)) for _ in range(num_slots)]
                inbound = CopyReceiver(queues[target % 2], pairs, None)  # type: ignore[assignment]
                slots = [buffer.bytes.data_ptr() for buffer in landing]
                outbound = CopySender(queues[source % 2], pairs, slots)  # type: ignore[assignment]
            stages[target].receivers.append(Receiver(VALUE, [inbound], landing))
            stages[source].senders.append(Sender([outbound], leaving))
    return stages


@pytest.mark.parametrize("num_slots", [1, 2, 3])
def test_values_that_skip_stages_on_two_ranks_in_turn_pass_even_through_one_queue_a_rank(num_slots: int) -> None:
    queues = [OneQueue(seed) for seed in range(2)]
    flags = torch.zeros(256, dtype=torch.int32)
    stages = joined(num_slots, queues, flags)

    def host(rank: int) -> None:
        for stage in stages[rank::2]:
            stage.start()
        for place, turn in turns_in_order(chain(4), EDGES, num_slots, items_of):
            if place.rank == rank:
                stages[place.stage].step(turn)

    threads = [threading.Thread(target=host, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for queue in queues:
        queue.thread.done(0).wait()
    expected = []
    for item in range(NUM_ITEMS):
        totals: list[int] = []
        for stage in range(4):
            totals.append(item + stage + 3 * sum(totals[source] for source in EDGES.get(stage, [])))
        expected.append(totals[-1])
    assert stages[3].results == expected


def test_a_thread_that_would_wait_for_itself_is_told_at_once() -> None:
    channel = LocalChannel(None, None, 1)
    channel.wait_s = 0.0
    with pytest.raises(TimeoutError, match="a stage of the same rank asked for nothing within 0 s"):
        channel.send(0, torch.zeros(1), None, 0)
    with pytest.raises(TimeoutError, match="a stage of the same rank sent nothing within 0 s"):
        channel.receive(0, torch.zeros(1), None).wait()
