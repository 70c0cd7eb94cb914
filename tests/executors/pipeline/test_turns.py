"""The schedule of a pipeline, without devices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partkit.executors.pipeline.turns import TurnLedger


def test_the_first_turns_are_posted_at_once_and_each_later_one_when_its_slot_s_former_was_stepped() -> None:
    ledger, seen = TurnLedger(num_slots=2), list[tuple[str, int]]()
    ledger.learn(4)
    while ledger.num_finished < 4:
        seen += [("post", turn) for turn, _ in ledger.post()]
        seen.append(("step", ledger.step()))
        seen.append(("finish", ledger.finish()))
    assert seen == [
        *(("post", 0), ("post", 1), ("step", 0), ("finish", 0)),
        *(("post", 2), ("step", 1), ("finish", 1)),
        *(("post", 3), ("step", 2), ("finish", 2)),
        *(("step", 3), ("finish", 3)),
    ]


def test_the_drawing_of_the_ledger_is_what_it_does() -> None:
    ledger = TurnLedger(num_slots=2)
    ledger.learn(5)
    list(ledger.post())
    assert [ledger.step(), ledger.step(), ledger.finish()] == [0, 1, 0]
    assert list(ledger.post()) == [(2, 0), (3, 1)]
    counts = (ledger.num_finished, ledger.num_stepped, ledger.num_posted, ledger.num_known)
    assert counts == (1, 2, 4, 5)


def test_a_turn_waits_for_a_slot_s_outputs_to_be_read_or_for_the_host_not_to_run_too_far_ahead() -> None:
    ledger = TurnLedger(num_slots=2)
    ledger.learn(10)
    for _ in range(6):
        list(ledger.post())
        ledger.step()
    assert ledger.last_to_finish(is_read=True, ahead=4) == 4, "turn 6 takes the slot of turn 4"
    assert ledger.last_to_finish(is_read=False, ahead=4) == 2, "of turns 3 to 6, four are under way"
    assert ledger.last_to_finish(is_read=False, ahead=128) < 0


@given(st.integers(1, 4), st.lists(st.sampled_from(["learn", "post", "step", "finish"]), max_size=60))
def test_whatever_happens_turns_come_in_order_and_no_slot_has_two(num_slots: int, events: list[str]) -> None:
    ledger, posted = TurnLedger(num_slots), list[int]()
    for event in events:
        if event == "learn":
            ledger.learn(2)
        elif event == "post":
            posted += [turn for turn, former in ledger.post() if former in (None, turn - num_slots)]
        elif event == "step" and ledger.num_stepped < ledger.num_posted:
            ledger.step()
        elif event == "finish" and ledger.num_under_way:
            ledger.finish()
        assert posted == list(range(ledger.num_posted))
        assert ledger.num_finished <= ledger.num_stepped <= ledger.num_posted <= ledger.num_known
        assert ledger.num_posted - ledger.num_stepped <= num_slots


def test_a_turn_that_was_not_posted_is_not_stepped() -> None:
    ledger = TurnLedger(num_slots=2)
    with pytest.raises(AssertionError, match="turn 0 was not posted"):
        ledger.step()
    with pytest.raises(AssertionError, match="turn 0 was not stepped"):
        ledger.finish()
