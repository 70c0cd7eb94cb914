"""Items put together into microbatches: each has its own output, in order; samples that influence each other do not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from partkit.data.plan import Plan
from partkit.errors import MismatchError, UsageError
from partkit.models.sources import load_model
from partkit.runs.open_pipeline import Pipeline, open_pipeline
from partkit.runs.together import Part, Together
from partkit.transport.item_form import ItemForm
from tests.planned import captured_model, plan_of

APART = "py:tests.sample_models:apart"
MOST = 6


def planned(source: str, max_delay_s: float = 0.0) -> Plan:
    plan = plan_of(source, 2, dynamic=("batch",))
    return plan.model_copy(update={"microbatch": MOST, "max_delay_s": max_delay_s})


@pytest.fixture(scope="module")
def together() -> Together:
    return Together(ItemForm(captured_model(APART, dynamic=("batch",))), MOST)


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    with open_pipeline(planned(APART, 0.05), device="cpu", allow_code=True) as opened:
        yield opened


def rows(*firsts: float) -> list[Part]:
    """Items of one sample each."""
    return [Part({"x": torch.full((1, 4), first)}, {"batch": 1}) for first in firsts]


def outputs_of(items: list[torch.Tensor]) -> list[torch.Tensor]:
    module = load_model(plan_of(APART, 2, dynamic=("batch",)).model).materialise()
    with torch.inference_mode():
        return [module(item) for item in items]


def test_a_microbatch_is_padded_to_a_bucket_and_its_outputs_are_taken_apart(together: Together) -> None:
    assert together.buckets == (1, 2, 4, 6)
    group = rows(1.0, 2.0, 3.0)
    bound, sizes = together.joined(group)
    assert (bound["x"][:, 0].tolist(), sizes) == ([1.0, 2.0, 3.0, 3.0], {"batch": 4})
    (name,) = [value.name for value in ItemForm(captured_model(APART, dynamic=("batch",))).outputs]
    taken = together.apart({name: torch.arange(12.0).reshape(4, 3)}, group)
    assert [part[name].tolist() for part in taken] == [[[0.0, 1.0, 2.0]], [[3.0, 4.0, 5.0]], [[6.0, 7.0, 8.0]]]


def test_items_are_grouped_in_order_as_far_as_there_is_room(together: Together) -> None:
    large = Part({"x": torch.zeros(5, 4)}, {"batch": 5})
    groups = list(together.groups(iter([*rows(0.0, 1.0), large, *rows(2.0, 3.0)])))
    assert [[part.batch for part in group] for group in groups] == [[1, 1], [5, 1], [1]]


def test_a_fault_of_the_items_comes_behind_those_before_it(together: Together) -> None:
    def faulty() -> Iterator[Part]:
        yield from rows(0.0, 1.0)
        raise UsageError("no more")

    groups = together.groups(faulty())
    assert len(next(groups)) == 2
    with pytest.raises(UsageError, match="no more"):
        next(groups)


def test_map_and_submit_give_each_item_its_own_output_in_order(pipeline: Pipeline) -> None:
    items = [torch.rand(1 + number % 3, 4) for number in range(50)]
    wanted = outputs_of(items)
    for mapped, output in zip(pipeline.map(items), wanted, strict=True):
        assert mapped.shape == output.shape
        torch.testing.assert_close(mapped, output)
    with ThreadPoolExecutor(8) as threads:
        futures = list(threads.map(pipeline.submit, items))
    for future, output in zip(futures, wanted, strict=True):
        torch.testing.assert_close(future.result(20), output)


def test_an_item_waits_for_others_no_longer_than_the_delay(pipeline: Pipeline) -> None:
    begin = time.perf_counter()
    torch.testing.assert_close(pipeline.submit(torch.ones(1, 4)).result(20), outputs_of([torch.ones(1, 4)])[0])
    assert 0.04 < time.perf_counter() - begin < 5
    cancelled = pipeline.submit(torch.zeros(1, 4))
    assert cancelled.cancel()
    whole = [pipeline.submit(torch.full((1, 4), float(number))) for number in range(MOST)]
    assert [tuple(future.result(20).shape) for future in whole] == [(1, 3)] * MOST


def test_samples_that_influence_each_other_are_refused_with_the_reason() -> None:
    told = r"samples of \S+centred that share a batch influence each other: output of sample \d differs by "
    with pytest.raises(MismatchError, match=told):
        open_pipeline(planned("py:tests.sample_models:centred"), device="cpu", allow_code=True)


def test_a_plan_for_a_fixed_batch_is_refused_before_anything_starts() -> None:
    plan = plan_of(APART, 2).model_copy(update={"microbatch": 4})
    with pytest.raises(MismatchError, match=r"the batch of .* is fixed in it; plan again with --microbatch 4"):
        open_pipeline(plan, device="cpu", allow_code=True)
