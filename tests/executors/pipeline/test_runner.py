"""A place's turns where ends come late, as on CUDA: a clock that lags stands in for the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
import torch

from partkit.data.places import Place
from partkit.executors.pipeline.clocks import CpuClock
from partkit.executors.pipeline.executor import finish_in_turns
from partkit.executors.pipeline.runner import StageRunner
from partkit.executors.protocol import Trace
from partkit.models.capture import capture
from partkit.models.inputs import synthetic_inputs
from partkit.models.of_job import tensor_reader
from partkit.models.sources import load_model, parse_model
from partkit.stages.cut import cut
from partkit.stages.forms import StageForms
from partkit.transport.host import HostFeed
from tests.planned import even_cut

CPU = torch.device("cpu")
NUM_SLOTS = 2


class LateClock(CpuClock):
    """Turns end only when somebody waits for them."""

    ends_at_once = False

    def __init__(self, ahead: int) -> None:
        super().__init__()
        self.ahead = ahead
        self.events: list[tuple[str, int]] = []

    def run(self, turn: int, slot: int, compute: Callable[[], None]) -> None:
        self.events.append(("run", turn))
        super().run(turn, slot, compute)

    def has_ended(self, turn: int) -> bool:
        return False

    def wait(self, turn: int) -> None:
        self.events.append(("wait", turn))


@pytest.fixture(scope="module")
def runner() -> StageRunner:
    loaded = load_model(parse_model("py:tests.sample_models:skips"))
    captured = capture(loaded)
    (stage,) = cut(captured, even_cut(captured, 1), 1)
    forms = StageForms(stage, captured, tensor_reader(loaded, captured), CPU, sizes_of=lambda _: {})
    feed = HostFeed(stage.takes, lambda item: list(synthetic_inputs(captured.spec, item).values()), NUM_SLOTS, None)
    with torch.inference_mode():
        return StageRunner(
            Place(0, 0, 0, 1, 0),
            forms,
            feed=feed,
            receivers={},
            senders={},
            num_slots=NUM_SLOTS,
            device=CPU,
            compute=None,
        )


def run(runner: StageRunner, num_items: int, keep: range) -> Trace:
    trace = Trace()
    with torch.inference_mode():
        runner.start(range(num_items), trace, keep=keep)
        for _ in range(runner.num_turns):
            runner.step()
        runner.finish()
    return trace


def test_outputs_that_are_kept_are_read_before_their_slot_is_queued_again(runner: StageRunner) -> None:
    runner._clock = clock = LateClock(ahead=128)
    trace = run(runner, 4, keep=range(4))
    assert clock.events == [
        *(("run", 0), ("run", 1)),
        *(("wait", 0), ("run", 2)),
        *(("wait", 1), ("run", 3)),
        *(("wait", 2), ("wait", 3)),
    ]
    runner._clock = CpuClock()
    expected = run(runner, 4, keep=range(4))
    assert list(trace.outputs) == list(trace.entered) == list(trace.finished) == [0, 1, 2, 3]
    for item, leaves in expected.outputs.items():
        for given, leaf in zip(trace.outputs[item], leaves, strict=True):
            assert given is not None
            assert leaf is not None
            assert torch.equal(given, leaf), f"item {item} was overwritten"


def test_the_host_queues_no_further_ahead_than_the_clock_allows(runner: StageRunner) -> None:
    runner._clock = clock = LateClock(ahead=3)
    trace = run(runner, 6, keep=range(0))
    assert trace.outputs == {}
    assert clock.events[:5] == [("run", 0), ("run", 1), ("run", 2), ("wait", 0), ("run", 3)]
    ahead = 0
    for event, _ in clock.events:
        ahead += 1 if event == "run" else -1
        assert ahead <= 3
    assert ahead == 0, "a run ends with every turn ended"


def test_only_the_outputs_of_kept_items_hold_the_host_back(runner: StageRunner) -> None:
    runner._clock = clock = LateClock(ahead=128)
    trace = run(runner, 5, keep=range(1, 2))
    assert list(trace.outputs) == [1]
    assert clock.events[:6] == [("run", 0), ("run", 1), ("run", 2), ("wait", 0), ("wait", 1), ("run", 3)]


class LeavingClock(LateClock):
    """Also tells when outputs leave and what waits for that; turns end as they are told to."""

    num_ended = 0

    def leave(self, turn: int, copy: Callable[[], None]) -> None:
        self.events.append(("leave", turn))
        super().leave(turn, copy)

    def follow(self, turn: int, slot: int) -> None:
        self.events.append(("follow", turn))

    def has_ended(self, turn: int) -> bool:
        return turn < self.num_ended


def test_a_programs_outputs_leave_behind_their_turn_and_the_host_waits_for_none(runner: StageRunner) -> None:
    runner._clock = clock = LeavingClock(ahead=128)
    left: list[int] = []
    with torch.inference_mode():
        runner.open(lambda item, values: left.append(item) if set(values) else None)
        runner.learn(4)
        for _ in range(4):
            runner.step()
        assert clock.events == [
            *(("run", 0), ("leave", 0), ("run", 1), ("leave", 1)),
            *(("follow", 0), ("run", 2), ("leave", 2)),  # the device holds the slot's next turn until outputs have left
            *(("follow", 1), ("run", 3), ("leave", 3)),
        ]
        assert (left, runner.num_finished, runner.num_under_way) == ([0, 1, 2, 3], 0, 4)
        clock.num_ended = 3
        runner.note_ends()
        assert (runner.num_finished, runner.num_under_way) == (3, 1)
        runner.finish()
        assert (runner.num_finished, runner.num_under_way) == (4, 0)


class Ends:
    """A place with items under way, which tells the order in which they are waited for."""

    def __init__(self, name: str, count: int, told: list[str]) -> None:
        self.name, self.left, self.told = name, count, told

    def finish_next(self) -> bool:
        if not self.left:
            return False
        self.left -= 1
        self.told.append(self.name)
        return True

    def finish(self) -> None:
        assert not self.left
        self.told.append(f"{self.name} done")


def test_places_of_one_thread_are_finished_an_item_of_each_in_turn() -> None:
    told: list[str] = []
    finish_in_turns([cast("StageRunner", Ends("a", 3, told)), cast("StageRunner", Ends("b", 2, told))])
    assert told == ["a", "b", "a", "b", "a", "a done", "b done"]
