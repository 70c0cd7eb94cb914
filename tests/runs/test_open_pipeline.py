"""A plan at work on a program's own items: in order, held back, in the model's own structure, nothing left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils import _pytree as pytree

import partkit
from partkit.data.cluster import Cluster, Device, Link
from partkit.data.plan import Plan
from partkit.errors import FormatError, RankFailedError, UsageError
from partkit.machine.devices import num_cuda_devices
from partkit.models.inputs import split_arguments, synthetic_inputs
from partkit.models.sources import load_model
from partkit.planners import PlanRequest, make_plan
from partkit.runs.item_files import map_file
from partkit.runs.open_pipeline import Pipeline, open_pipeline
from partkit.runs.profile_model import profile_model
from tests.listeners import listening, own_family
from tests.planned import plan_of

SKIPS = "py:tests.sample_models:skips"


@dataclass
class Scored:
    """Known to nobody's pytree."""

    scores: torch.Tensor
    parts: list[torch.Tensor]
    activation: str = "relu"
    nothing: torch.Tensor | None = None


class Named(NamedTuple):
    scored: Scored
    by_number: dict[Any, Any]


class Scoring(nn.Module):
    """Two inputs, one of them by keyword; a dataclass in a named tuple, with texts that are names of its values."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, *, shift: torch.Tensor) -> Named:
        hidden = torch.relu(self.first(x))
        return Named(Scored(self.second(hidden) + shift, [hidden, x]), {0: "linear", (1, 2): hidden, "x": "x"})


@pytest.fixture(scope="module")
def skips() -> Iterator[Pipeline]:
    with open_pipeline(plan_of(SKIPS, 2, replicas=2), device="cpu", max_in_flight=5, allow_code=True) as pipeline:
        yield pipeline


def skip_items(count: int) -> list[dict[str, torch.Tensor]]:
    spec = plan_of(SKIPS, 2).model
    return [synthetic_inputs(spec, number) for number in range(count)]


def processes(pipeline: Pipeline) -> list[psutil.Process]:
    return [psutil.Process(pid) for pid in pipeline.pids().values()]


def is_running(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_outputs_come_in_order_in_the_models_own_structure(skips: Pipeline) -> None:
    loaded = load_model(plan_of(SKIPS, 2).model)
    whole, items = loaded.materialise(), skip_items(40)
    outputs = list(skips.map(items))
    with torch.inference_mode():
        for item, output in zip(items, outputs, strict=True):
            args, kwargs = split_arguments(loaded, item)
            expected = whole(*args, **kwargs)
            assert list(output) == list(expected) == ["early", "result"]
            assert [torch.equal(output[key], expected[key]) for key in expected] == [True, True]


def test_an_open_pipeline_listens_on_this_host_alone(skips: Pipeline) -> None:
    assert list(skips.map(skip_items(1)))
    addresses = listening(own_family())
    assert addresses
    assert all(address.is_loopback for address in addresses), addresses


def test_items_are_taken_no_faster_than_outputs(skips: Pipeline) -> None:
    taken = 0

    def counted() -> Iterator[dict[str, torch.Tensor]]:
        nonlocal taken
        for item in skip_items(30):
            taken += 1
            yield item

    ahead = []
    for number, _ in enumerate(skips.map(counted()), start=1):
        ahead.append(taken - number)
    assert len(ahead) == 30
    assert 0 <= min(ahead) <= max(ahead) <= 5


def test_a_map_left_early_keeps_nothing_and_the_next_starts_afresh(skips: Pipeline) -> None:
    items = skip_items(12)
    expected = [output["result"] for output in skips.map(items)]
    running = skips.map(items)
    next(running)
    with pytest.raises(UsageError) as raised:
        skips.map(items)
    assert str(raised.value) == "another map of this pipeline is not finished; close that generator first"
    running.close()  # type: ignore[attr-defined]
    again = [output["result"] for output in skips.map(items[3:])]
    assert [torch.equal(one, other) for one, other in zip(expected[3:], again, strict=True)] == [True] * 9


def test_a_fault_of_the_items_own_iterator_comes_through(skips: Pipeline) -> None:
    def broken() -> Iterator[dict[str, torch.Tensor]]:
        yield from skip_items(3)
        raise ValueError("no more data")

    outputs = []
    with pytest.raises(ValueError, match="no more data"):  # noqa: PT012 - what comes before is kept
        for output in skips.map(broken()):
            outputs.append(output)
    assert len(outputs) == 3, "what came before the fault"
    assert len(list(skips.map(skip_items(2)))) == 2


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (
            {"x": torch.zeros(3, 8), "late": torch.zeros(3, 9)},
            "item 1: input 'late' is float32 of shape [3, 9], and the plan is for float32 of shape [3, 8]; "
            "convert or pad it, or plan again with --input late=3x9:float32",
        ),
        (
            (torch.zeros(3, 8), torch.zeros(3, 8, dtype=torch.int64)),
            "item 1: input 'late' is int64 of shape [3, 8], and the plan is for float32 of shape [3, 8]; "
            "convert or pad it, or plan again with --input late=3x8:int64",
        ),
        ({"x": torch.zeros(3, 8), "later": 1}, "item 1 has the inputs x, later, and the plan's model takes x, late"),
        (torch.zeros(3, 8), "item 1 has 1 inputs, and the plan's model takes 2 (x, late)"),
        ((torch.zeros(3, 8), "text"), "item 1: input 'late' is a str, and no tensor"),
    ],
)
def test_an_item_of_another_form_is_named(skips: Pipeline, item: object, message: str) -> None:
    outputs = []
    with pytest.raises(UsageError) as raised:  # noqa: PT012 - what comes before is kept
        for output in skips.map([skip_items(1)[0], item]):
            outputs.append(output)
    assert str(raised.value) == message
    assert len(outputs) == 1, "what came before it"


def test_a_file_of_items_becomes_a_file_of_outputs(skips: Pipeline, tmp_path: Path) -> None:
    items = skip_items(7)
    stacked = {name: torch.stack([item[name] for item in items]) for name in ("x", "late")}
    save_file(stacked, tmp_path / "in.safetensors")
    seen = map_file(skips, tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    assert (seen.shapes.count, len(seen.entered_at), len(seen.finished_at)) == (7, 7, 7)
    written = load_file(tmp_path / "out.safetensors")
    expected = list(skips.map(items))
    assert set(written) == {"early", "result"}
    for name, tensor in written.items():
        assert torch.equal(tensor, torch.stack([output[name] for output in expected]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.safetensors", "out.safetensors"]


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {"x": torch.zeros(2, 3, 8)},
            "holds x, and the plan's model takes x, late; name each tensor as an input, with items as its first "
            "dimension",
        ),
        (
            {"x": torch.zeros(2, 3, 8), "late": torch.zeros(3, 8)},
            ": tensor 'late' is float32 of shape [3, 8], and the plan's items are float32 of shape [3, 8]: "
            "[N, 3, 8] is needed; convert or pad it, or plan again with --input",
        ),
        (
            {"x": torch.zeros(2, 3, 8), "late": torch.zeros(4, 3, 8)},
            "has different numbers of items: 2 of x, 4 of late",
        ),
    ],
)
def test_a_file_of_other_tensors_is_refused_and_nothing_written(
    skips: Pipeline, tmp_path: Path, tensors: dict[str, torch.Tensor], message: str
) -> None:
    path = tmp_path / "in.safetensors"
    save_file(tensors, path)
    with pytest.raises(FormatError) as raised:
        map_file(skips, path, tmp_path / "out.safetensors")
    assert str(raised.value).removeprefix(str(path)).strip() == message
    assert list(tmp_path.iterdir()) == [path]


def test_any_module_is_planned_and_run_with_its_own_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    torch.manual_seed(0)
    module, example = Scoring().eval(), torch.ones(2, 4)
    profile = profile_model(module, example_inputs=example, example_kwargs={"shift": example}, analytic="cpu-core")
    devices = (Device(name="a"), Device(name="b"))
    cluster = Cluster(devices=devices, link=Link(bytes_per_s=1e9), overlap=False)
    plan = make_plan(profile, cluster, PlanRequest(num_stages=2, exact_num_stages=True))
    with partkit.open_pipeline(plan, device="cpu") as pipeline:
        outputs = list(pipeline.map((torch.full((2, 4), float(n)), torch.ones(2, 4)) for n in range(5)))
        ranks = processes(pipeline)
    assert (len(ranks), len(outputs)) == (2, 5)
    assert not any(map(is_running, ranks))
    for number, output in enumerate(outputs):
        with torch.inference_mode():
            expected = module(torch.full((2, 4), float(number)), shift=torch.ones(2, 4))
        assert isinstance(output, Named)
        assert isinstance(output.scored, Scored)
        assert (output.scored.activation, output.scored.nothing) == ("relu", None)
        assert {key: value for key, value in output.by_number.items() if isinstance(value, str)} == {
            0: "linear",
            "x": "x",
        }
        found, wanted = ([each.scored.scores, *each.scored.parts, each.by_number[1, 2]] for each in (output, expected))
        assert [torch.equal(one, other) for one, other in zip(found, wanted, strict=True)] == [True] * 4
    with pytest.raises(UsageError) as raised:
        pipeline.map([])
    assert str(raised.value) == "the pipeline is closed; open it again with open_pipeline"


def as_expected(plan: Plan, outputs: list[Any], *, tolerance: float) -> bool:
    """True where the outputs of synthetic items are the unsplit model's on the CPU."""
    loaded = load_model(plan.model)
    whole = loaded.materialise()
    for number, output in enumerate(outputs):
        args, kwargs = split_arguments(loaded, synthetic_inputs(plan.model, number))
        with torch.inference_mode():
            expected = pytree.tree_leaves(whole(*args, **kwargs))
        for one, other in zip(pytree.tree_leaves(output), expected, strict=True):
            if float((one - other).abs().max()) > tolerance:
                return False
    return True


def test_stages_that_share_a_rank_have_a_thread_each() -> None:
    plan = plan_of(SKIPS, 3)
    with open_pipeline(plan, device="cpu", devices=(0, 0, 1), allow_code=True) as pipeline:
        assert len(pipeline.pids()) == 2
        outputs = list(pipeline.map(skip_items(20)))
    assert len(outputs) == 20
    assert as_expected(plan, outputs, tolerance=0)


@pytest.mark.gpu
@pytest.mark.skipif(num_cuda_devices() == 0, reason="needs a CUDA device")
def test_own_items_go_through_gpus_and_back() -> None:
    plan = plan_of("bert-tiny", 2)
    devices = (0, 1) if num_cuda_devices() > 1 else (0, 0)
    items = [synthetic_inputs(plan.model, number) for number in range(50)]
    with open_pipeline(plan, device="cuda", devices=devices) as pipeline:
        outputs = list(pipeline.map(items))
        again = list(pipeline.map(items))
    assert len(outputs) == len(again) == 50
    assert as_expected(plan, outputs, tolerance=1e-3)
    assert as_expected(plan, again, tolerance=1e-3)


def test_a_module_that_cannot_be_archived_says_why() -> None:
    with pytest.raises(UsageError) as raised:
        profile_model(Scoring(), example_inputs=torch.ones(2, 4))
    assert str(raised.value) == "the Scoring is in training mode; call its eval() first"
    with pytest.raises(UsageError) as raised:
        profile_model("bert-tiny", example_inputs=torch.ones(2, 4))
    assert str(raised.value) == "example inputs are for an nn.Module; a named model has its own: leave them out"


def test_a_rank_that_dies_is_named_and_the_others_end() -> None:
    with open_pipeline(plan_of("bert-tiny", 2), device="cpu") as pipeline:
        items = [synthetic_inputs(plan_of("bert-tiny", 2).model, 0)] * 200
        ranks = processes(pipeline)
        with pytest.raises(RankFailedError) as raised:  # noqa: PT012 - the rank must die in the middle
            for number, output in enumerate(pipeline.map(items)):
                assert type(output).__name__ == "MaskedLMOutput"
                if number == 3:
                    os.kill(pipeline.pids()[1], signal.SIGKILL)
        assert raised.value.message.startswith(
            "rank 1 of 2 (stage 1, pipeline on cpu) was ended by SIGKILL during 'stream'"
        )
        assert not any(map(is_running, ranks))


def test_items_of_many_shapes_go_through_one_pipeline_in_order() -> None:
    plan = plan_of("llama-tiny", 2, batch=3, seq=16, dynamic=("batch", "seq"))
    shapes = [(3, 16), (1, 5), (2, 16), (3, 7), (1, 5), (1, 1), (3, 16)]
    items = [synthetic_inputs(plan.model.resized({"batch": b, "seq": s}), n) for n, (b, s) in enumerate(shapes)]
    loaded = load_model(plan.model)
    whole = loaded.materialise()
    with open_pipeline(plan, device="cpu") as pipeline, torch.inference_mode():
        for item, output in zip(items, pipeline.map(items), strict=True):
            args, kwargs = split_arguments(loaded, item)
            assert torch.equal(output.logits, whole(*args, **kwargs).logits)
        with pytest.raises(UsageError, match=r"item 0: input 'input_ids' is int64 of shape \[4, 16\], and the plan is"):
            list(pipeline.map([torch.zeros(4, 16, dtype=torch.int64)]))
