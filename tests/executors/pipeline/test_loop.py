"""Many items per launch: on the CPU the same turns run one by one, as the messages of a CUDA graph would."""

from __future__ import annotations

from pathlib import Path

import pytest

from partkit.data.orders import Load, RunItems
from partkit.data.places import Place
from partkit.data.replies import OutputDifference
from partkit.executors.pipeline.loop import turns_of_a_loop
from partkit.ranks.group import RankGroup
from partkit.ranks.run_options import RunOptions, job_of
from partkit.runs.check import check_outputs, items_at_once, make_reference
from partkit.runs.run import run_plan
from tests.planned import plan_of


def test_loops_of_replicas_give_the_same_bits_and_count_every_item() -> None:
    plan = plan_of("py:tests.sample_models:skips", 2, replicas=2)
    options = RunOptions(device="cpu", items=75, latency_items=2, loop_graph="on", allow_code=True)
    result = run_plan(plan, options)
    assert result is not None
    assert (result.check.passed, result.check.max_abs_diff) == (True, 0.0)
    assert result.items == 75
    assert result.steady_samples_per_s > 0
    assert all(0 < use.busy <= 1 for use in result.ranks)
    told = [note for note in result.notes if note.startswith("16 items per launch: the host takes ")]
    assert len(told) == len(result.ranks) == 3


def test_a_check_fills_a_launch_so_that_what_it_sees_is_the_loop(tmp_path: Path) -> None:
    options = RunOptions(device="cpu", loop_graph="on", allow_code=True)
    job = job_of(plan_of("py:tests.sample_models:stack", 2), "pipeline", options)
    reference = make_reference(job, tmp_path)
    with RankGroup(job) as group:
        loaded = group.call(Load())
        assert items_at_once(loaded) == 16
        check = check_outputs(group, reference, at_once=16)
        assert (check.passed, check.max_abs_diff) == (True, 0.0)
        runs = group.call(RunItems(num_items=40, sample=(0, 17, 39), reference=str(reference)))
    assert [run.num_finished for run in runs] == [0, 40]
    first, last = runs
    assert first.sample is None, "it returns no outputs"
    assert last.sample == OutputDifference(max_abs_diff=0.0, max_abs=last.sample.max_abs, matches=True)
    assert last.steady_per_s < 2 * 40 / (last.end - last.begin), "ends of launches were noted late"


def test_a_rank_of_several_stages_says_that_it_has_no_loop() -> None:
    options = RunOptions(
        device="cpu", items=12, latency_items=2, loop_graph="on", devices=(0, 0), check=False, allow_code=True
    )
    result = run_plan(plan_of("py:tests.sample_models:stack", 2), options)
    assert result is not None
    assert "no graph of the whole loop: it hosts several stages" in result.warnings


def test_sizes_that_vary_have_no_loop() -> None:
    plan = plan_of("bert-tiny", 2, batch=2, seq=8, dynamic=("batch",))
    result = run_plan(plan, RunOptions(device="cpu", items=12, latency_items=2, loop_graph="on", check=False))
    assert result is not None
    assert "no graph of the whole loop: its sizes vary" in result.warnings


@pytest.mark.parametrize(
    ("replicas", "num_slots", "expected"), [((1, 1), 2, 16), ((1, 3), 2, 18), ((2, 3), 4, 24), ((1,), 7, 21)]
)
def test_after_a_loop_every_place_is_at_the_same_slots_and_channels(
    replicas: tuple[int, ...], num_slots: int, expected: int
) -> None:
    every = [Place(stage, stage, 0, count, stage) for stage, count in enumerate(replicas)]
    turns = turns_of_a_loop(every, num_slots)
    assert turns == expected
    for place in every:
        for other in replicas:
            moved = turns * place.num_replicas  # items by which a place goes on in a loop
            assert moved % other == 0
            assert moved // other % num_slots == 0
