from __future__ import annotations

import threading

import torch

from partkit.executors.pipeline.clocks import CpuClock
from partkit.executors.pipeline.outlets import SinkOutlet, TraceOutlet
from partkit.executors.protocol import Trace


def test_a_turn_on_the_cpu_has_ended_when_its_call_returns_and_its_time_counts() -> None:
    clock, done = CpuClock(), threading.Event()
    clock.run(0, 0, done.set)
    assert done.is_set()
    assert (clock.ends_at_once, clock.has_ended(0), clock.waited_s) == (True, True, 0.0)
    clock.wait(0)
    first_s = clock.busy_s(1)
    clock.run(1, 1, lambda: torch.zeros(1 << 16).sort())
    assert clock.busy_s(2) > first_s > 0
    clock.begin()
    assert clock.busy_s(0) == 0.0, "a run counts from its begin"


def test_an_item_that_was_due_entered_then_and_any_other_when_it_went_in() -> None:
    trace = Trace()
    outlet = TraceOutlet(trace, keep=(3,), due={2: 5.0, 3: 6.0})
    assert [outlet.due(item) for item in (2, 3)] == [5.0, 6.0]
    for item in (2, 3):
        outlet.entered(item)
    assert trace.entered == {2: 5.0, 3: 6.0}
    assert [outlet.reads(item) for item in (2, 3)] == [False, True]
    outlet.close(busy_s=1.5)
    assert trace.busy_s == 1.5
    free = TraceOutlet(trace, keep=())
    assert free.due(4) is None
    free.entered(4)
    free.ended(4)
    assert trace.entered[4] <= trace.finished[4]
    program = SinkOutlet(lambda item, values: None)
    assert (program.leaves_at_once, program.reads(0)) == (True, False), "outputs leave for it; the host reads none"
