"""Threads of places that wait for each other."""

from __future__ import annotations

import threading

import pytest

from partkit.executors.pipeline.threads import run_side_by_side


def test_calls_are_under_way_at_once() -> None:
    both = threading.Barrier(2, timeout=30)  # passes only if both wait together
    run_side_by_side([lambda: both.wait() and None, lambda: both.wait() and None])
    assert not both.broken


def test_a_fault_is_raised_though_another_waits_for_it() -> None:
    let_go = threading.Event()

    def fails() -> None:
        raise ValueError("stage 1 is broken")

    try:
        with pytest.raises(ValueError, match=r"^stage 1 is broken$"):
            run_side_by_side([lambda: let_go.wait(60) and None, fails])
        assert not let_go.is_set()
    finally:
        let_go.set()
