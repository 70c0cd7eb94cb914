"""A place's loop over many items as one CUDA graph: the host launches once for all of them.

    launch b     [post K] . (wait . stage . post . send) x turns . [drain]       inputs of launch b + 1 are staged
    host         stage inputs b + 1 . launch b + 1 . wait for the end of b

Receipts and sendings are in the graph, so peers see the same messages in the same order as without it, and may do
without it themselves. On the CPU the same turns are run one by one, which is how tests reach this code.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Container, Mapping, Sequence

import torch

from partkit.data.places import Place
from partkit.executors.pipeline.slots import StageSlots
from partkit.executors.pipeline.turns import TurnLedger
from partkit.executors.protocol import Trace
from partkit.machine.cuda_graph import capture_graph
from partkit.transport.blocks import HostBlocks
from partkit.transport.edge import Receiver, Sender
from partkit.transport.host import HostFeed

_AHEAD = 1
"""Launches queued while the device still runs an earlier one."""

_LEAST_TURNS = 16


def turns_of_a_loop(places: Sequence[Place], num_slots: int) -> int:
    """At least 16 turns, after which every place is at the same slots and channels again.

    >>> turns_of_a_loop([Place(0, 0, 0, 1, 0), Place(1, 1, 0, 3, 1)], num_slots=2)
    18
    """
    unit = num_slots * math.lcm(*(place.num_replicas for place in places))
    return -(-_LEAST_TURNS // unit) * unit


class StageLoop:
    """``num_turns`` turns of a place at once; after as many, channels and slots are the same again."""

    def __init__(
        self,
        place: Place,
        slots: StageSlots,
        *,
        feed: HostFeed,
        receivers: Mapping[int, Receiver],
        senders: Mapping[int, Sender],
        num_slots: int,
        num_turns: int,
        compute: torch.cuda.Stream | None,
        stage_s: float,
    ) -> None:
        """``stage_s`` is the stage's own time for one item, from which its busy share is computed."""
        self.num_turns, self._place, self._slots = num_turns, place, slots
        self._receivers, self._senders = list(receivers.values()), list(senders.values())
        self._num_slots, self._compute, self._stage_s = num_slots, compute, stage_s
        self._outputs: list[dict[str, torch.Tensor]] = []
        num_fed = len(slots.stage.model_inputs)
        self._blocks = HostBlocks(slots.stage.takes[:num_fed], feed.source, num_turns, compute)
        if compute is not None:
            self._ends = [torch.cuda.Event() for _ in range(_AHEAD + 1)]
            self._graph = torch.cuda.CUDAGraph()
            compute.synchronize()
            capture_graph(self._graph, self._take_turns, stream=compute, pool=slots.pools[0])

    def run(self, items: Sequence[int], trace: Trace, *, keep: Container[int]) -> Sequence[int]:
        """Run as many whole loops as the place's items fill; returns the items that are left."""
        count, under_way = len(items) // self.num_turns, deque[tuple[int, Sequence[int]]]()
        ahead = 0 if self._compute is None else _AHEAD
        for number in range(count):
            block = items[number * self.num_turns : (number + 1) * self.num_turns]
            self._blocks.stage(block, number)
            if self._slots.stage.model_inputs:
                trace.entered |= dict.fromkeys(block, time.perf_counter())
            self._launch(number)
            under_way.append((number, block))
            is_kept = any(item in keep for item in block)
            while len(under_way) > (0 if is_kept or number == count - 1 else ahead):
                self._finish(*under_way.popleft(), trace)
            if is_kept:
                self._keep(block, keep, trace)
        return items[count * self.num_turns :]

    def release(self) -> None:
        """Drop the graph; must come before the process group is destroyed."""
        if self._compute is not None:
            self._graph.reset()
        self._outputs.clear()

    def _launch(self, number: int) -> None:
        if self._compute is None:
            self._take_turns()
            return
        self._blocks.bring(number)
        with torch.cuda.stream(self._compute):
            self._graph.replay()
        self._ends[number % (_AHEAD + 1)].record(self._compute)

    def _finish(self, number: int, block: Sequence[int], trace: Trace) -> None:
        """Wait until the oldest launch has ended, and note the time."""
        if self._compute is not None:
            self._ends[number % (_AHEAD + 1)].synchronize()
        trace.busy_s += self._stage_s * self.num_turns
        if self._slots.stage.leaves is not None:
            trace.finished |= dict.fromkeys(block, time.perf_counter())

    def _keep(self, block: Sequence[int], keep: Container[int], trace: Trace) -> None:
        """Copy outputs of a launch that has ended: the next one overwrites them."""
        if self._slots.stage.leaves is None:
            return
        for item, given in zip(block, self._outputs, strict=True):
            if item in keep:
                trace.outputs[item] = self._slots.leaves_of(given)

    def _take_turns(self) -> None:
        """All turns: under capture into the graph, on the CPU at once."""
        self._outputs = []
        ledger = TurnLedger(self._num_slots)
        ledger.learn(self.num_turns)
        self._post(ledger, self._mark())
        for turn in range(self.num_turns):
            slot = turn % self._num_slots
            for receiver in self._receivers:
                receiver.wait(slot)
            for sender in self._senders:
                sender.ready(slot)
            self._outputs.append(self._slots.compute(slot, self._blocks.tensors(turn)))
            done = self._mark()
            ledger.step()
            self._post(ledger, done)
            for sender in self._senders:
                sender.send(slot, self._item(turn), done)
        for sender in self._senders:
            sender.drain()

    def _post(self, ledger: TurnLedger, after: torch.cuda.Event | None) -> None:
        for turn, _ in ledger.post():
            for receiver in self._receivers:
                receiver.post(turn % self._num_slots, self._item(turn), after)

    def _item(self, turn: int) -> int:
        """An item of the same channel and slots as the turn's item in every launch."""
        return self._place.replica + turn * self._place.num_replicas

    def _mark(self) -> torch.cuda.Event | None:
        return None if self._compute is None else self._compute.record_event()
