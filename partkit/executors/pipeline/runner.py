"""One place of a pipeline at work: takes items through its stage, turn by turn.

    turn             0    1    2    3
    stage 0         [0]  [1]  [2]  [3]              slot of an item = item // replicas mod K, so that turns take
    stage 1              [0]  [1]  [2]  [3]         the slots round and a slot's buffers are reused K turns later

With L lanes on CUDA (:mod:`partkit.transport.lanes`) the slots' turns go round L compute streams: turn t + L follows
turn t in its lane. One loop serves every channel: ``wait`` and ``ready`` hold back the host on the CPU and the slot's
compute stream on CUDA, where the host runs up to 128 turns ahead, so that its hiccups do not reach the device. Outputs
that the host reads are read before their slot's next turn is queued; a program's own leave by copies queued behind
their turn, and the slot's next turn follows those on the device, so that the host waits for none.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Container, Mapping, Sequence

import torch

from partkit.data.places import Place
from partkit.data.timeline import Event
from partkit.executors.pipeline.clocks import Clock, CpuClock, CudaClock
from partkit.executors.pipeline.loop import StageLoop
from partkit.executors.pipeline.outlets import Outlet, Sink, SinkOutlet, TraceOutlet
from partkit.executors.pipeline.recorder import CpuRecorder, CudaRecorder, Recorder, events_of
from partkit.executors.pipeline.slots import StageSlots
from partkit.executors.pipeline.turns import TurnLedger
from partkit.executors.protocol import Trace
from partkit.machine.clock import settle
from partkit.stages.forms import StageForms
from partkit.transport.edge import Receiver, Sender
from partkit.transport.host import HostFeed
from partkit.transport.lanes import Lanes


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
        compute: Lanes | None,
    ) -> None:
        self.place, self.device, self.stage, self.feed, self.num_slots = place, device, forms.stage, feed, num_slots
        self.forms, self._compute = forms, compute
        self._senders, self._receivers = senders, receivers
        self._loop: StageLoop | None = None
        self._recorder: Recorder | None = None
        self._sources: list[HostFeed | Receiver] = [*([feed] if forms.stage.model_inputs else []), *receivers.values()]
        self.slots = StageSlots(forms, feed, receivers, senders, num_slots=num_slots, compute=compute)
        self._clock: Clock = CpuClock() if compute is None else CudaClock(compute, num_slots=num_slots)
        self._ledger = TurnLedger(num_slots)

    @property
    def why_no_loop(self) -> str | None:
        """Why this place's turns cannot be one CUDA graph; None where they can."""
        if self.stage.symbols:
            return "its sizes vary"
        return "its sizes depend on the data" if self.stage.depends_on_data else self.slots.why_no_graph

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
            compute=None if self._compute is None else self._compute.of(0),
            stage_s=stage_s,
        )

    def start(
        self, items: Sequence[int], trace: Trace, *, keep: Container[int], due: Mapping[int, float] | None = None
    ) -> None:
        """Begin a run over this place's share of ``items``: whole loops if there is one, then ask for the first K.

        ``due`` gives each item's arrival (``time.perf_counter()``), before which it does not enter.
        """
        own: Sequence[int] = [item for item in items if item % self.place.num_replicas == self.place.replica]
        if self._loop is not None and due is None:
            own = self._loop.run(own, trace, keep=keep)
        self._begin(own, TraceOutlet(trace, keep, due))
        self.learn(len(own))

    def start_recording(self, items: Sequence[int], trace: Trace) -> None:
        """As :meth:`start`, item by item, noting when each turn waits and computes; :meth:`recorded` has it."""
        own = [item for item in items if item % self.place.num_replicas == self.place.replica]
        self._begin(own, TraceOutlet(trace, ()))
        self._recorder = CpuRecorder() if self._compute is None else CudaRecorder(self._compute.of(0), len(own))
        self.learn(len(own))

    def recorded(self, origin: float) -> list[Event]:
        """What a recorded run that has finished did when, in seconds since ``origin`` (``time.perf_counter()``)."""
        assert self._recorder is not None, "nothing was recorded"
        times, self._recorder = self._recorder.times(), None
        return events_of(self.place, self._items, times, origin)

    def open(self, sink: Sink) -> None:
        """Begin a run over items without end, of which :meth:`learn` tells; outputs go to ``sink``."""
        self._begin(range(self.place.replica, sys.maxsize, self.place.num_replicas), SinkOutlet(sink))

    def learn(self, count: int) -> None:
        """``count`` more items will come: ask for those that have a slot."""
        self._ledger.learn(count)
        self._post()

    @property
    def num_turns(self) -> int:
        """Items that this place takes in the run, as far as is known."""
        return self._ledger.num_known

    @property
    def num_finished(self) -> int:
        """Items of the run that have ended, and whose outputs have left where they leave at once."""
        return self._ledger.num_finished

    @property
    def num_under_way(self) -> int:
        """Items that were stepped and whose end was not noted yet."""
        return self._ledger.num_under_way

    @property
    def look_s(self) -> float:
        """Longest that the host may sleep without :meth:`note_ends` while items are under way."""
        return self._clock.look_s

    @property
    def num_taken(self) -> int:
        """Items that it has taken so far."""
        return self._ledger.num_stepped

    @property
    def waited_s(self) -> float:
        """Seconds in which the host waited for the device in this run."""
        return self._clock.waited_s

    def step(self) -> None:
        """Take the next item through the stage."""
        self._make_room()
        turn = self._ledger.num_stepped
        slot, item = self._slot(turn), self._items[turn]
        if self.stage.model_inputs:
            self._await_arrival(item)
        for source in self._sources:
            source.wait(slot)
        if self._recorder is not None:
            self._recorder.mark()
        for sender in self._senders.values():
            sender.ready(slot)
        if self._recorder is not None:
            self._recorder.mark()
        if self.stage.model_inputs:
            self._outlet.entered(item)
        leaves = self.stage.leaves is not None and self._outlet.leaves_at_once
        if leaves and turn >= self.num_slots:
            self._clock.follow(turn - self.num_slots, slot)
        self._clock.run(turn, slot, lambda: self.slots.run(slot, item))
        if self._recorder is not None:
            self._recorder.mark()
        if leaves:
            self._clock.leave(turn, lambda: self._outlet.take(item, self.slots, slot))
        self._ledger.step()
        self._post()
        filled = self._clock.values_of(turn)
        for sender in self._senders.values():
            sender.send(slot, item, filled)
        if self._clock.ends_at_once:
            self._finish_oldest()

    def finish_next(self) -> bool:
        """Wait for the oldest item under way; False where there is none."""
        if not self._ledger.num_under_way:
            return False
        self._finish_oldest()
        return True

    def finish(self) -> None:
        """Wait for what is under way."""
        while self._ledger.num_under_way:
            self._finish_oldest()
        for sender in self._senders.values():
            sender.drain()
        settle(self.device)
        self._outlet.close(self._clock.busy_s(self._ledger.num_stepped))

    def stage_s(self, *, shared: bool) -> float:
        """The stage alone, on whatever its buffers hold, per item with every lane full; ``shared`` as in
        :func:`partkit.machine.clock.call_s`."""
        return self._clock.alone_s(lambda slot: self.slots.run(slot, 0), shared=shared)

    def launch_s(self, sizes: Mapping[str, int], lanes: int) -> float:
        """As :meth:`stage_s` with the first ``lanes`` alone full, of items of these sizes from now on."""
        self.forms.take_sizes_from(lambda _: sizes)
        for slot in range(lanes):
            self.slots.fit(slot, item=0)
            self.slots.run(slot, 0)
        settle(self.device)
        return self._clock.alone_s(lambda slot: self.slots.run(slot, 0), shared=False, lanes=lanes)

    def release(self) -> None:
        """Drop CUDA graphs; must come before the process group is destroyed."""
        if self._loop is not None:
            self._loop.release()
            self._loop = None
        self.slots.release()

    def _begin(self, items: Sequence[int], outlet: Outlet) -> None:
        self._items, self._outlet, self._ledger = items, outlet, TurnLedger(self.num_slots)
        self._clock.begin()

    def _post(self) -> None:
        """Ask for each known item whose slot's former item has been taken."""
        for turn, former in self._ledger.post():
            for source in self._sources:
                consumed = None if former is None else self._consumed(former, source)
                source.post(self._slot(turn), self._items[turn], consumed)

    def _consumed(self, turn: int, source: HostFeed | Receiver) -> torch.cuda.Event | None:
        """What tells that a turn has done with a source's buffers: outputs may lie in the feed's, and in no others."""
        return self._clock.end_of(turn) if source is self.feed else self._clock.values_of(turn)

    def _make_room(self) -> None:
        """Wait for the ends of earlier turns before another is queued: of all whose outputs it would overwrite unread,
        and of as many as bounds how far the host runs ahead."""
        ledger = self._ledger
        former = ledger.num_stepped - self.num_slots
        is_read = former >= 0 and self._outlet.reads(self._items[former])
        last = ledger.last_to_finish(is_read=is_read, ahead=self._clock.ahead)
        while ledger.num_finished <= last:
            self._finish_oldest()
        self.note_ends()

    def note_ends(self) -> None:
        """Take note of all turns that have ended, without waiting for any."""
        while self._sees_an_end():
            self._finish_oldest()

    def _sees_an_end(self) -> bool:
        """Whether the oldest item under way has ended: noted soon, its end tells the rate of the run."""
        return self._ledger.num_under_way > 0 and self._clock.has_ended(self._ledger.num_finished)

    def _slot(self, turn: int) -> int:
        return self._items[turn] // self.place.num_replicas % self.num_slots

    def _await_arrival(self, item: int) -> None:
        """Wait until an item is due, noting meanwhile the ends of items under way."""
        due = self._outlet.due(item)
        while due is not None and (left_s := due - time.perf_counter()) > 0:
            if self._sees_an_end():
                self._finish_oldest()
            else:
                time.sleep(min(left_s, self._clock.look_s))

    def _finish_oldest(self) -> None:
        """Wait for the end of the oldest item under way, and pass on its outputs."""
        turn = self._ledger.finish()
        self._clock.wait(turn)
        if self.stage.leaves is None:
            return
        item = self._items[turn]
        self._outlet.ended(item)
        if self._outlet.reads(item):
            with self._clock.reading():
                self._outlet.take(item, self.slots, self._slot(turn))
