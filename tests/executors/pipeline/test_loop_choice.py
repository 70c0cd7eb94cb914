"""Who tries the loop graph, who gets it, and what is told."""

from __future__ import annotations

from typing import Any

import pytest

from partkit.data.job import LoopGraph, RunJob
from partkit.executors.pipeline.loop_choice import LoopTrial, is_tried, pays, refusal
from tests.planned import plan_of

SLOW_HOST, SLOW_DEVICE = LoopTrial(8, host_s=3e-4, device_s=1e-4), LoopTrial(8, host_s=1e-4, device_s=3e-4)


def job(asked: LoopGraph, **more: Any) -> RunJob:
    return RunJob(executor="pipeline", plan=plan_of("py:tests.sample_models:skips", 2), loop_graph=asked, **more)


@pytest.mark.parametrize(
    ("asked", "device", "hosts", "tried"),
    [
        ("off", "cuda", (), False),
        ("auto", "cuda", (), True),
        ("auto", "cpu", (), False),
        ("auto", "cuda", (0, 0), False),
        ("on", "cpu", (), True),
        ("on", "cuda", (0, 0), False),
    ],
)
def test_a_loop_is_tried_where_each_rank_has_one_place_and_a_host_may_be_slow(
    asked: LoopGraph, device: str, hosts: tuple[int, ...], tried: bool
) -> None:
    assert is_tried(job(asked, device=device, host_by_place=hosts)) == tried


def test_a_loop_pays_where_the_host_is_slower_and_is_made_anyway_where_it_was_asked_for() -> None:
    assert [pays(job("auto"), trial) for trial in (SLOW_HOST, SLOW_DEVICE)] == [True, False]
    assert [pays(job("on"), trial) for trial in (SLOW_HOST, SLOW_DEVICE)] == [True, True]
    assert not pays(job("on"), LoopTrial(0, 0.0, 0.0)), "a replica that had no item has nothing to judge by"


def test_only_who_asked_for_the_loop_is_told_why_there_is_none() -> None:
    told = "no graph of the whole loop: its sizes vary"
    assert [refusal(job(asked), "its sizes vary") for asked in ("on", "auto", "off")] == [told, None, None]
    assert refusal(job("on"), None) is None
    one_process = job("on", host_by_place=(0, 0))
    assert refusal(one_process, None) == "no graph of the whole loop: one process runs all stages"
    assert refusal(one_process, "it hosts several stages") == "no graph of the whole loop: it hosts several stages"
