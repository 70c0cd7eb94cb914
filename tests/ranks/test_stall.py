"""Which of the ranks that gave no answer holds up the others."""

from __future__ import annotations

import os
import sys
import time

from partkit.ranks.pulse import Doing, Pulse, doing_at
from partkit.ranks.stall import last_seen, process_state, stalled
from partkit.transport import edge


def pulse(doing: Doing, *, age_s: float = 0.0, node: str | None = None, turn: int = 4) -> Pulse:
    return Pulse(at=time.time() - age_s, doing=doing, where="sleep (net.py:3)", node=node, turns={1: turn})


RUNNING = {0: "S", 1: "S", 2: "R"}


def test_the_one_that_works_while_the_others_wait_is_named() -> None:
    pulses = {0: pulse("waits"), 1: pulse("works", node="act"), 2: pulse("waits")}
    assert stalled(pulses, RUNNING) == {1: "got stuck"}
    assert stalled({0: pulse("works")}, RUNNING) == {0: "got stuck"}


def test_a_stopped_process_explains_all_others() -> None:
    pulses = {0: pulse("works"), 1: None, 2: pulse("works", age_s=9)}
    assert stalled(pulses, RUNNING | {1: "T"}) == {1: "was stopped by a signal or a debugger"}


def test_without_a_sign_of_life_a_rank_is_stuck_whatever_it_did_last() -> None:
    pulses = {0: pulse("works"), 1: pulse("waits", age_s=9, node="act")}
    assert stalled(pulses, RUNNING) == {1: "gave no sign of life for 9 s"}


def test_of_ranks_that_wait_for_their_devices_the_one_that_came_least_far_is_named() -> None:
    pulses = {0: pulse("awaits its device", turn=7), 1: pulse("awaits its device", turn=5), 2: pulse("waits", turn=3)}
    assert stalled(pulses, RUNNING) == {1: "waited for its device"}


def test_where_all_wait_for_each_other_none_is_named() -> None:
    assert stalled({0: pulse("waits"), 1: None}, RUNNING) == {}


def test_what_a_thread_does_is_told_by_the_module_it_is_in() -> None:
    frame = sys._getframe()
    assert doing_at(frame) == "works"
    seen = []

    class Arrival:
        def wait(self) -> None:
            seen.append(doing_at(sys._getframe(1)))

    receiver = edge.Receiver((), (), ())
    receiver._arrivals = [Arrival()]
    receiver.wait(0)
    assert seen == ["waits"]


def test_where_a_rank_was_seen_last_is_its_node_or_function_and_its_turns() -> None:
    assert last_seen(pulse("works", node="act")) == "; last seen at node act in turn 4"
    assert last_seen(pulse("works")) == "; last seen in turn 4"
    assert last_seen(pulse("works"), names_function=True) == "; last seen at sleep (net.py:3) in turn 4"
    assert last_seen(pulse("works", age_s=60), names_function=True) == "; last seen in turn 4"
    assert last_seen(pulse("waits"), names_function=True) == "; last seen in turn 4"
    assert last_seen(None) == ""


def test_a_process_that_is_gone_has_no_state() -> None:
    assert process_state(os.getpid()) == "R"
    assert process_state(1 << 30) == ""
