"""Items that threads and tasks submit to one pipeline, each with a future of its own.

    submit . in line . waiting room . slots and ranks . future done
             |         |              '- at most ``num_slots``; cannot be cancelled any more
             |         '- at most as many again: what slots are filled with as soon as they are free
             '- back-pressure: submit blocks, asubmit awaits

With microbatches a slot takes several items, those at the head of the waiting room: as many as there are room for, or
fewer once the first of them has waited for the longest delay.

One thread serves all: it moves items on and hands outputs over, and sleeps while there are none.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import torch

from partkit.errors import UsageError
from partkit.runs.serving import Serving
from partkit.runs.together import Part, Together

Tensors = Mapping[str, torch.Tensor]


@dataclass(eq=False)
class Submission:
    """An item on its way."""

    part: Part
    future: Future[Any] = field(default_factory=Future)
    admitted: Future[None] = field(default_factory=Future)
    """Done once the item is past the line."""
    entered_at: float = field(default_factory=time.monotonic)

    def admit(self) -> None:
        """Let whoever waits in line go on, unless they have left."""
        if not self.admitted.done() and self.admitted.set_running_or_notify_cancel():
            self.admitted.set_result(None)


class Submissions:
    """The line, the waiting room and the thread that serves them."""

    def __init__(
        self,
        channel: Serving,
        together: Together,
        max_delay_s: float,
        await_output: Callable[[float], bool],
        rebuild: Callable[[Tensors, bool], Any],
        end: Callable[[Exception], None],
    ) -> None:
        """``together`` makes microbatches, for which an item waits at most ``max_delay_s``.

        ``await_output`` blocks until the channel has an output or that time (``time.monotonic()``) has come, and raises
        where none will come, which is then told to ``end``; ``rebuild`` makes of an output what the user gets, a copy
        where asked.
        """
        self._channel, self._await_output, self._rebuild, self._end = channel, await_output, rebuild, end
        self._together, self._max_delay_s = together, max_delay_s
        self._changed = threading.Condition()
        self._line: deque[Submission] = deque()
        self._waiting: deque[Submission] = deque()
        self._under_way: deque[list[Submission]] = deque()
        self._is_closing = False
        self._cause: Exception | None = None
        self._thread = threading.Thread(target=self._serve, name="partkit-outputs", daemon=True)
        self._is_started = False

    @property
    def num_unfinished(self) -> int:
        """Items whose future is not done, those apart that were cancelled."""
        with self._changed:
            every = (*self._line, *self._waiting, *itertools.chain(*self._under_way))
            return sum(not submission.future.done() for submission in every)

    def enter(self, submission: Submission) -> None:
        """Take an item in without blocking; its ``admitted`` is done once the caller may go on."""
        with self._changed:
            if self._cause is not None:
                raise self._cause
            if self._is_closing:
                raise UsageError("the pipeline is closed", hint="open it again with open_pipeline")
            self._line.append(submission)
            self._move_on()
            if threading.current_thread() is self._thread and not submission.admitted.done():
                # of a future's callback: blocked, this thread could not make room
                self._line.remove(submission)
                self._waiting.append(submission)
                submission.admit()
            if not self._is_started:
                self._is_started = True
                self._thread.start()
            self._changed.notify()

    def drain(self) -> None:
        """Take no more items, and wait until all that came have their outputs."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._join()

    def fail(self, cause: Exception) -> None:
        """Give every future that is not done ``cause``, and whoever submits from now on."""
        with self._changed:
            self._cause = self._cause or cause
            left = (*self._line, *self._waiting, *itertools.chain(*self._under_way))
            self._line.clear()
            self._waiting.clear()
            self._under_way.clear()
            self._changed.notify()
        for submission in left:
            if submission.future.running() or submission.future.set_running_or_notify_cancel():
                submission.future.set_exception(self._cause)
            submission.admit()
        self._join()

    def _join(self) -> None:
        if self._is_started and threading.current_thread() is not self._thread:
            self._thread.join()

    def _serve(self) -> None:
        try:
            while self._has_work():
                if self._await_output(self._due()):
                    self._hand_over()
        except Exception as error:  # noqa: BLE001 - whatever ends this thread is told to everybody who waits for it
            self.fail(error)
            self._end(error)

    def _has_work(self) -> bool:
        """Sleep until an item is under way; False once none is and none will be."""
        with self._changed:
            while True:
                self._move_on()
                if self._cause is not None:
                    return False
                if self._under_way:
                    return True
                if self._is_closing and not self._waiting and not self._line:
                    return False
                due = self._due()
                self._changed.wait(None if due == math.inf else max(due - time.monotonic(), 0.0))

    def _due(self) -> float:
        """When the items that wait go on in whatever number; infinite where none wait, or for a slot first."""
        with self._changed:
            if not self._waiting or not self._channel.has_room:
                return math.inf
            return self._waiting[0].entered_at + self._max_delay_s

    def _hand_over(self) -> None:
        """Give all outputs that are there to their futures."""
        there: list[tuple[Submission, Tensors, bool]] = []
        with self._changed:
            while self._under_way and self._channel.has_output:
                group, (shared, short) = self._under_way.popleft(), self._channel.take()
                taken = self._together.apart(shared, [submission.part for submission in group])
                there.extend((each, outputs, short) for each, outputs in zip(group, taken, strict=True))
                del shared, taken
            self._move_on()
        there.reverse()
        while there:  # held nowhere else: what the future's owner lets go of is free
            submission, tensors, is_short = there.pop()
            try:
                output = self._rebuild(tensors, is_short)
            except Exception as error:  # noqa: BLE001 - of the user's own output classes
                submission.future.set_exception(error)
            else:
                submission.future.set_result(output)
                del output
            del submission, tensors

    def _move_on(self) -> None:
        """Fill the slots from the waiting room and that from the line, in order, without those that were cancelled."""
        while True:
            while group := self._next_group():
                while self._waiting and self._waiting.popleft() is not group[-1]:
                    pass
                running = [submission for submission in group if submission.future.set_running_or_notify_cancel()]
                if running:
                    self._channel.put(*self._together.joined([submission.part for submission in running]))
                    for submission in running:
                        submission.part = Part({}, submission.part.sizes)  # the item may go
                    self._under_way.append(running)
            if not self._line or len(self._waiting) >= self._channel.num_slots * self._together.most:
                return
            submission = self._line.popleft()
            self._waiting.append(submission)
            submission.admit()

    def _next_group(self) -> list[Submission]:
        """The items that share the next slot, where there is one and it is time; none where they wait for it."""
        while self._waiting and self._waiting[0].future.cancelled():
            self._waiting.popleft()
        if not self._waiting or not self._channel.has_room:
            return []
        group: list[Submission] = []
        parts: list[Part] = []
        is_time = self._is_closing or time.monotonic() >= self._waiting[0].entered_at + self._max_delay_s
        for submission in self._waiting:
            if submission.future.cancelled():
                continue
            if not self._together.fits(parts, submission.part):
                return group
            group.append(submission)
            parts.append(submission.part)
            if self._together.is_full(parts):
                return group
        return group if is_time else []
