"""One place of a pipeline at work: takes items through its stage, turn by turn.

    turn             0    1    2    3
    stage 0         [0]  [1]  [2]  [3]              slot of an item = item // replicas mod K, so that turns take
    stage 1              [0]  [1]  [2]  [3]         the slots round and a slot's buffers are reused K turns later

One loop serves every channel: ``wait`` and ``ready`` hold back the host on the CPU and the compute stream on CUDA,
where the host runs up to 128 turns ahead, so that its hiccups do not reach the device. Outputs that somebody reads are
read before their slot's next turn is queued.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Container, Mapping, Sequence

import torch

from partkit.data.places import Place
from partkit.executors.pipeline.loop import StageLoop
from partkit.executors.pipeline.slots import StageSlots
from partkit.executors.protocol import Trace
from partkit.machine.clock import call_s, settle, stream_s
from partkit.stages.forms import StageForms
from partkit.transport.edge import Receiver, Sender
from partkit.transport.host import HostFeed

_LOOK_S = 2e-5
"""How often a rank that waits for an arrival looks whether an item has ended."""

_AHEAD = 128
"""Turns that the host queues ahead of the device: 40 ms of stages that take 0.3. Virtual machines have been seen to
call CUDA ten times slower for 20 ms."""

_SAMPLE_EVERY = 8
"""Turns between those whose time on the device is taken."""

Sink = Callable[[int, Mapping[str, torch.Tensor]], None]
"""Takes an item's output values by name, complete, on this place's device; they last until it returns."""


class StageRunner:
    """A stage with its weights on one device, its slots and its edges."""

    def __init__(
        self,
        place: Place,
        forms: StageForms,
        *,
        feed: HostFeed,
        receivers: Mapping[int, Receiver],
        senders: Mapping[int, Sender],
        num_slots: int,
        device: torch.device,
        compute: torch.cuda.Stream | None,
    ) -> None:
        self.place, self.device, self.stage, self.feed, self.num_slots = place, device, forms.stage, feed, num_slots
        self.forms, self._compute = forms, compute
        self._trace: Trace | None = None
        self._sink: Sink | None = None
        self._keep: Container[int] = ()
        self._due: Mapping[int, float] | None = None
        self._senders, self._receivers = senders, receivers
        self._loop: StageLoop | None = None
        self._sources: list[HostFeed | Receiver] = [*([feed] if forms.stage.model_inputs else []), *receivers.values()]
        self.slots = StageSlots(forms, feed, receivers, senders, num_slots=num_slots, compute=compute)
        if compute is not None:
            self._ahead = max(_AHEAD, num_slots)
            self._begun = [torch.cuda.Event(enable_timing=True) for _ in range(self._ahead)]
            self._ended = [torch.cuda.Event(enable_timing=True) for _ in range(self._ahead)]
        self._leaving = None if compute is None else torch.cuda.Stream(compute.device)
        """Outputs leave on a stream of their own, not behind the items that are queued already."""

    @property
    def why_no_loop(self) -> str | None:
        """Why this place's turns cannot be one CUDA graph; None where they can."""
        if self.stage.symbols:
            return "its sizes vary"
        return "its sizes depend on the data" if self.stage.depends_on_data else None

    def make_loop(self, num_turns: int) -> None:
        """From now on take items ``num_turns`` at a time where there are as many, in one CUDA graph."""
        stage_s = self.stage_s(shared=False)
        self._loop = StageLoop(
            self.place,
            self.slots,
            feed=self.feed,
            receivers=self._receivers,
            senders=self._senders,
            num_slots=self.num_slots,
            num_turns=num_turns,
            compute=self._compute,
            stage_s=stage_s,
        )

    def start(
        self, items: Sequence[int], trace: Trace, *, keep: Container[int], due: Mapping[int, float] | None = None
    ) -> None:
        """Begin a run over this place's share of ``items``: whole loops if there is one, then ask for the first K.

        ``due`` gives each item's arrival (``time.perf_counter()``), before which it does not enter.
        """
        self._due = due
        own: Sequence[int] = [item for item in items if item % self.place.num_replicas == self.place.replica]
        if self._loop is not None and due is None:
            own = self._loop.run(own, trace, keep=keep)
        self._begin(own)
        self._trace, self._keep, self._sink = trace, keep, None
        self.learn(len(self._items))

    def open(self, sink: Sink) -> None:
        """Begin a run over items without end, of which :meth:`learn` tells; outputs go to ``sink``."""
        self._begin(range(self.place.replica, sys.maxsize, self.place.num_replicas))
        self._trace, self._keep, self._sink, self._due = None, (), sink, None

    def learn(self, count: int) -> None:
        """``count`` more items will come: ask for those that have a slot."""
        self._num_known += count
        self._ask()

    @property
    def num_turns(self) -> int:
        """Items that this place takes in the run, as far as is known."""
        return self._num_known

    def step(self, turn: int) -> None:
        """Take one item through the stage; turns come in order."""
        slot, item = self._slot(turn), self._items[turn]
        self._make_room(turn)
        self._await_arrival(item)
        for source in self._sources:
            source.wait(slot)
        for sender in self._senders.values():
            sender.ready(slot)
        self._run(slot, item)
        self._num_stepped = turn + 1
        self._ask()
        filled = None if self._compute is None else self._end_of(turn)
        for sender in self._senders.values():
            sender.send(slot, item, filled)
        if self._compute is None:
            self._finish_oldest()

    def finish(self) -> None:
        """Wait for what is under way."""
        while self._num_finished < self._num_stepped:
            self._finish_oldest()
        for sender in self._senders.values():
            sender.drain()
        settle(self.device)
        if self._trace is not None and self._sampled_s:
            self._trace.busy_s += statistics.fmean(self._sampled_s) * self._num_stepped

    def stage_s(self, *, shared: bool) -> float:
        """The stage alone, on whatever its buffers hold; ``shared`` as in :func:`call_s`.

        On CUDA runs follow each other without a gap, as in a full pipeline.
        """
        if self._compute is not None:
            return stream_s(lambda: self.slots.run(0, 0), self._compute)
        return call_s(lambda: self.slots.run(0, 0), self.device, shared=shared)

    def release(self) -> None:
        """Drop CUDA graphs; must come before the process group is destroyed."""
        if self._loop is not None:
            self._loop.release()
            self._loop = None
        self.slots.release()

    def _begin(self, items: Sequence[int]) -> None:
        self._items, self._sampled_s = items, list[float]()
        self.waited_s = 0.0
        """Seconds in which the host waited for the device in this run."""
        self._num_known = self._num_posted = self._num_stepped = self._num_finished = 0

    def _ask(self) -> None:
        """Ask for each known item whose slot's former item has been taken."""
        while self._num_posted < min(self._num_known, self._num_stepped + self.num_slots):
            turn, former = self._num_posted, self._num_posted - self.num_slots
            consumed = None if self._compute is None or former < 0 else self._end_of(former)
            for source in self._sources:
                source.post(self._slot(turn), self._items[turn], consumed)
            self._num_posted += 1

    def _make_room(self, turn: int) -> None:
        """See the ends of earlier turns before another is queued: of all whose outputs it would overwrite unread, and
        of as many as bounds how far the host runs ahead."""
        if self._compute is None:
            return
        former = turn - self.num_slots
        is_read = self._sink is not None or (former >= 0 and self._items[former] in self._keep)
        last = former if is_read else turn - self._ahead
        while self._num_finished <= last or self._sees_an_end():
            self._finish_oldest()

    def _sees_an_end(self) -> bool:
        """Whether the oldest item under way has ended: noted soon, its end tells the rate of the run."""
        return self._num_finished < self._num_stepped and self._end_of(self._num_finished).query()

    def _end_of(self, turn: int) -> torch.cuda.Event:
        return self._ended[turn % self._ahead]

    def _slot(self, turn: int) -> int:
        return self._items[turn] // self.place.num_replicas % self.num_slots

    def _await_arrival(self, item: int) -> None:
        """Wait until an item is due, seeing meanwhile the ends of items under way."""
        if self._due is None or not self.stage.model_inputs:
            return
        while (left_s := self._due[item] - time.perf_counter()) > 0:
            if self._compute is not None and self._sees_an_end():
                self._finish_oldest()
            else:
                time.sleep(min(left_s, _LOOK_S) if self._compute is not None else left_s)

    def _run(self, slot: int, item: int) -> None:
        begin = time.perf_counter()
        if self._trace is not None and self.stage.model_inputs:
            self._trace.entered.setdefault(item, begin if self._due is None else self._due[item])
        if self._compute is None:
            self.slots.run(slot, item)
            if self._trace is not None:
                self._trace.busy_s += time.perf_counter() - begin
            return
        turn = self._num_stepped
        if self._is_sampled(turn):
            self._begun[turn % self._ahead].record(self._compute)
        self.slots.run(slot, item)
        self._end_of(turn).record(self._compute)

    def _is_sampled(self, turn: int) -> bool:
        """Whether a turn's time is taken: another event on the compute stream each time would slow short stages."""
        return turn % _SAMPLE_EVERY == 0

    def _finish_oldest(self) -> None:
        """See the end of the oldest item under way."""
        turn = self._num_finished
        slot, item = self._slot(turn), self._items[turn]
        self._num_finished = turn + 1
        if self._compute is not None:
            begin = time.perf_counter()
            self._end_of(turn).synchronize()
            self.waited_s += time.perf_counter() - begin
            if self._is_sampled(turn):
                self._sampled_s.append(self._begun[turn % self._ahead].elapsed_time(self._end_of(turn)) / 1e3)
        if self.stage.leaves is not None:
            self._give(item, slot)

    def _give(self, item: int, slot: int) -> None:
        """Pass on the outputs of an item that has ended."""
        if self._trace is not None:
            self._trace.finished[item] = time.perf_counter()
        if self._sink is None and item not in self._keep:
            return
        with contextlib.nullcontext() if self._leaving is None else torch.cuda.stream(self._leaving):
            outputs = self.slots.outputs(slot)
            if self._sink is not None:
                self._sink(item, outputs)
            if self._trace is not None and item in self._keep:
                self._trace.outputs[item] = self.slots.leaves_of(outputs)
