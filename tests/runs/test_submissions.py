"""Items that threads and tasks submit: each future has its own item's output, room is waited for, faults arrive."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from partkit.errors import RankFailedError, UsageError
from partkit.models.inputs import split_arguments
from partkit.models.sources import load_model
from partkit.runs.open_pipeline import Pipeline, open_pipeline
from tests.planned import plan_of

SKIPS = "py:tests.sample_models:skips"
SLOTS = 5
NUM_THREADS = 16


@pytest.fixture(scope="module")
def skips() -> Iterator[Pipeline]:
    plan = plan_of(SKIPS, 2, replicas=2)
    with open_pipeline(plan, device="cpu", max_in_flight=SLOTS, allow_code=True, outputs=("result",)) as pipeline:
        yield pipeline


def item(number: int) -> dict[str, torch.Tensor]:
    return {"x": torch.full((3, 8), number * 0.01), "late": torch.full((3, 8), float(number))}


@pytest.fixture(scope="module")
def whole() -> Any:
    loaded = load_model(plan_of(SKIPS, 2).model)
    module = loaded.materialise()

    def result_of(number: int) -> torch.Tensor:
        args, kwargs = split_arguments(loaded, item(number))
        with torch.inference_mode():
            result: torch.Tensor = module(*args, **kwargs)["result"]
        return result

    return result_of


@contextmanager
def stopped(pipeline: Pipeline) -> Iterator[None]:
    """The ranks do nothing meanwhile, so that what is submitted stays where it is."""
    for pid in pipeline.pids().values():
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pipeline.pids().values():
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("count", [1_600, pytest.param(20_000, marks=[pytest.mark.slow, pytest.mark.nightly])])
def test_of_items_from_many_threads_none_is_lost_doubled_or_out_of_order(
    skips: Pipeline, whole: Any, count: int
) -> None:
    finished: list[list[int]] = [[] for _ in range(NUM_THREADS)]

    def client(thread: int) -> list[int]:
        wrong, ahead = [], deque[tuple[int, Future[Any]]]()

        def check() -> None:
            number, future = ahead.popleft()
            if not torch.equal(future.result(60)["result"], whole(number)):
                wrong.append(number)

        for number in range(thread, count, NUM_THREADS):
            future = skips.submit(item(number))
            future.add_done_callback(lambda _, number=number: finished[thread].append(number))
            ahead.append((number, future))
            if len(ahead) > thread % 4:  # some wait for each item, some keep outputs
                check()
        while ahead:
            check()
        return wrong

    with ThreadPoolExecutor(NUM_THREADS) as threads:
        assert list(threads.map(client, range(NUM_THREADS))) == [[]] * NUM_THREADS
    assert finished == [list(range(thread, count, NUM_THREADS)) for thread in range(NUM_THREADS)]


def test_a_wrong_item_fails_its_own_future_alone(skips: Pipeline, whole: Any) -> None:
    futures = [skips.submit(each) for each in (item(1), (torch.zeros(3, 8),), item(2))]
    assert torch.equal(futures[0].result(60)["result"], whole(1))
    with pytest.raises(UsageError, match=r"^item \d+ has 1 inputs, and the plan's model takes 2 \(x, late\)$"):
        futures[1].result(60)
    assert torch.equal(futures[2].result(60)["result"], whole(2))


def test_what_has_no_slot_can_be_cancelled_and_whoever_finds_no_room_waits(skips: Pipeline, whole: Any) -> None:
    with stopped(skips):
        futures = [skips.submit(item(number)) for number in range(2 * SLOTS)]
        assert [future.running() for future in futures] == [True] * SLOTS + [False] * SLOTS
        entered = threading.Event()

        def enter() -> torch.Tensor:
            future = skips.submit(item(77))
            entered.set()
            result: torch.Tensor = future.result(60)["result"]
            return result

        with ThreadPoolExecutor(1) as threads:
            late = threads.submit(enter)
            assert not entered.wait(0.2)
            assert [futures[0].cancel(), futures[-1].cancel(), futures[SLOTS].cancel()] == [False, True, True]
            with pytest.raises(UsageError) as raised:
                skips.map([])
            assert str(raised.value) == (
                f"{2 * SLOTS - 1} submitted items of this pipeline are not finished; wait for their futures first"
            )
            for pid in skips.pids().values():
                os.kill(pid, signal.SIGCONT)
            assert torch.equal(late.result(60), whole(77))
    for number, future in enumerate(futures):
        if number in (SLOTS, 2 * SLOTS - 1):
            with pytest.raises(CancelledError):
                future.result(60)
        else:
            assert torch.equal(future.result(60)["result"], whole(number))


def test_a_map_and_submitted_items_are_kept_apart(skips: Pipeline, whole: Any) -> None:
    running = skips.map(map(item, range(9)))
    assert torch.equal(next(running)["result"], whole(0))
    with pytest.raises(UsageError) as raised:
        skips.submit(item(1))
    assert str(raised.value) == "a map of this pipeline is not finished; close that generator first"
    running.close()  # type: ignore[attr-defined]
    assert torch.equal(skips.submit(item(3)).result(60)["result"], whole(3))
    first, second = skips.map([item(1)]), skips.map([item(2)])  # neither has begun
    next(first)
    with pytest.raises(UsageError, match="another map of this pipeline is not finished"):
        next(second)
    first.close()  # type: ignore[attr-defined]


def test_tasks_await_their_outputs_and_a_cancelled_one_takes_its_item_back(skips: Pipeline, whole: Any) -> None:
    async def use() -> None:
        outputs = await asyncio.gather(*(skips.asubmit(item(number)) for number in range(40)))
        assert all(torch.equal(output["result"], whole(number)) for number, output in enumerate(outputs))
        with stopped(skips):
            tasks = [asyncio.create_task(skips.asubmit(item(number))) for number in range(3 * SLOTS)]
            while len(skips._submissions._line) < SLOTS:
                await asyncio.sleep(0)
            tasks[-1].cancel()
            with pytest.raises(asyncio.CancelledError):
                await tasks[-1]
        outputs = await asyncio.gather(*tasks[:-1])
        assert all(torch.equal(output["result"], whole(number)) for number, output in enumerate(outputs))

    asyncio.run(use())
    assert torch.equal(next(skips.map([item(5)]))["result"], whole(5))


def test_an_async_map_is_in_order_and_gives_what_came_before_a_wrong_item(skips: Pipeline, whole: Any) -> None:
    async def some() -> AsyncIterator[Any]:
        for number in range(30):
            yield item(number)
        yield torch.zeros(1)

    async def use() -> None:
        outputs = []
        with pytest.raises(UsageError, match="has 1 inputs"):  # noqa: PT012 - what comes before is kept
            async for output in skips.amap(some()):
                outputs.append(output["result"])
        assert [torch.equal(output, whole(number)) for number, output in enumerate(outputs)] == [True] * 30
        assert [output["result"].shape async for output in skips.amap([item(1), item(2)])] == [(3, 8)] * 2

    asyncio.run(use())


def test_a_callback_that_submits_while_all_is_full_stops_nothing(skips: Pipeline, whole: Any) -> None:
    more = deque[Future[Any]]()
    with stopped(skips):
        futures = [skips.submit(item(number)) for number in range(2 * SLOTS)]
        for number, future in enumerate(futures):
            future.add_done_callback(lambda _, number=number: more.append(skips.submit(item(100 + number))))
    for future in futures:
        future.result(60)
    results = [more[number].result(60)["result"] for number in range(2 * SLOTS)]
    assert [torch.equal(result, whole(100 + number)) for number, result in enumerate(results)] == [True] * 2 * SLOTS


def test_an_output_that_the_model_does_not_have_is_refused() -> None:
    with pytest.raises(UsageError) as raised:
        open_pipeline(plan_of(SKIPS, 2), device="cpu", allow_code=True, outputs=("results",))
    assert str(raised.value) == f"{SKIPS} has no output 'results'; its outputs are early, result"


def test_a_rank_that_dies_fails_every_future_with_the_first_cause() -> None:
    with open_pipeline(plan_of(SKIPS, 2), device="cpu", allow_code=True, max_in_flight=2, copy=True) as pipeline:
        output = pipeline.submit(item(1)).result(60)["result"]
        assert output.untyped_storage().nbytes() == output.numel() * 4, "copy=True: in memory of its own"
        last = pipeline.pids()[1]
        os.kill(last, signal.SIGSTOP)
        futures = [pipeline.submit(item(number)) for number in range(4)]
        os.kill(last, signal.SIGKILL)
        for future in futures:
            with pytest.raises(RankFailedError) as raised:
                future.result(60)
            told = re.sub(r"; last seen( at node \w+)?( in turn \d+)?$", "", raised.value.message)
            assert told == "rank 1 of 2 (stage 1, pipeline on cpu) was ended by SIGKILL during 'stream'"
        with pytest.raises(RankFailedError, match="was ended by SIGKILL"):
            pipeline.submit(item(1))


def test_closing_waits_for_what_was_submitted(whole: Any) -> None:
    with open_pipeline(plan_of(SKIPS, 2), device="cpu", allow_code=True, max_in_flight=2) as pipeline:
        futures = [pipeline.submit(item(number)) for number in range(4)]
    assert [torch.equal(each.result(0)["result"], whole(number)) for number, each in enumerate(futures)] == [True] * 4
    with pytest.raises(UsageError) as raised:
        pipeline.submit(item(1))
    assert str(raised.value) == "the pipeline is closed; open it again with open_pipeline"


def test_an_error_in_the_with_block_ends_what_was_submitted() -> None:
    opened = open_pipeline(plan_of(SKIPS, 2), device="cpu", allow_code=True, max_in_flight=1)
    with pytest.raises(ValueError, match="the user's own"), opened as pipeline:  # noqa: PT012 - with items under way
        for pid in pipeline.pids().values():
            os.kill(pid, signal.SIGSTOP)
        futures = [pipeline.submit(item(number)) for number in range(2)]
        raise ValueError("the user's own")
    for future in futures:
        with pytest.raises(UsageError, match=r"^the pipeline was closed before the item's output came$"):
            future.result(60)
