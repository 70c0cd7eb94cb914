"""Windows of the uncut graph: as few as fit a budget, and the unsplit model's outputs bit for bit."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn

from partkit.data.model import InputSpec, ModelSpec
from partkit.errors import InfeasibleError
from partkit.models.capture import Capture, capture
from partkit.models.inputs import synthetic_inputs
from partkit.models.of_job import item_inputs, tensor_reader
from partkit.models.sources import load_model, parse_model
from partkit.models.sources.loaded import LoadedModel
from partkit.models.weights import ModuleWeights
from partkit.stages.windows import Window, make_windows, run_windows
from tests.split_run import same_bits

CPU = torch.device("cpu")


class Chain(nn.Module):
    """Six layers of 64 kB, a value that skips four of them, and a tuple that no window may part."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(128, 128) for _ in range(6))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        first = self.layers[0](x)
        left, right = first.split(64, dim=-1)
        y = torch.cat([right, left], dim=-1)
        for layer in self.layers[1:]:
            y = layer(y).tanh()
        return {"y": y + first, "first": first}


LAYER_BYTES = (128 * 128 + 128) * 4


@pytest.fixture(scope="module")
def chain() -> tuple[LoadedModel, Capture]:
    module = Chain().eval()
    spec = ModelSpec(source="py:chain:make", inputs=(InputSpec(name="x", shape=(2, 128), dtype="float32"),))
    tensors = {name: tensor.detach() for name, tensor in module.named_parameters()}
    args = tuple(synthetic_inputs(spec, 0).values())
    loaded = LoadedModel(spec=spec, module=module, args=args, kwargs={}, weights=ModuleWeights(tensors))
    return loaded, capture(loaded)


def parameter_names(window: Window, captured: Capture) -> set[str]:
    return {str(node.target) for node in window.graph.nodes if node.op == "get_attr"} & set(captured.tensors)


@pytest.mark.parametrize(("layers_that_fit", "num_windows"), [(1, 6), (2, 3), (3, 2), (6, 1)])
def test_windows_are_as_few_as_the_budget_allows(chain, layers_that_fit: int, num_windows: int):
    _, captured = chain
    windows = make_windows(captured, LAYER_BYTES * layers_that_fit + 8 * 2 * 128 * 4)
    assert [len(parameter_names(window, captured)) for window in windows] == [2 * layers_that_fit] * num_windows


@pytest.mark.parametrize("layers_that_fit", [1, 2, 4])
def test_items_through_windows_have_the_unsplit_models_bits(chain, layers_that_fit: int):
    loaded, captured = chain
    windows = make_windows(captured, LAYER_BYTES * layers_that_fit + 8 * 2 * 128 * 4)
    items = [item_inputs(loaded.spec, item, 3, loaded)[0] for item in range(3)]
    found = run_windows(windows, captured, tensor_reader(loaded, captured), CPU, [{"x": x} for x in items])
    with torch.inference_mode():
        expected = [loaded.module(x) for x in items]
    for outputs, right in zip(found, expected, strict=True):
        assert same_bits(outputs, [right["y"], right["first"]])


def test_a_windows_weights_are_gone_before_the_next_ones_come(chain):
    loaded, captured = chain
    read, held = tensor_reader(loaded, captured), list[weakref.ref[torch.Tensor]]()
    windows = make_windows(captured, LAYER_BYTES * 2 + 8 * 2 * 128 * 4)
    alive_at_read: list[int] = []

    def copied(name: str) -> torch.Tensor:
        copy = read(name).clone()  # as the copy that a device has
        alive_at_read.append(sum(each() is not None for each in held))
        held.append(weakref.ref(copy))
        return copy

    item = {"x": item_inputs(loaded.spec, 0, 3, loaded)[0]}
    gc.collect()
    gc.disable()  # what a collection would find by chance
    try:
        run_windows(windows, captured, copied, CPU, [item])
    finally:
        gc.enable()
    assert len(windows) == 3
    assert max(alive_at_read) < 4, "two layers of two tensors each are a window"


def test_each_weight_is_read_once_however_many_items_there_are(chain):
    loaded, captured = chain
    read, told = tensor_reader(loaded, captured), []

    def counted(name: str) -> torch.Tensor:
        told.append(name)
        return read(name)

    windows = make_windows(captured, LAYER_BYTES * 2 + 8 * 2 * 128 * 4)
    run_windows(windows, captured, counted, CPU, [{"x": torch.ones(2, 128)}] * 3)
    assert sorted(told) == sorted(captured.tensors)


def test_a_window_is_shown_with_the_first_items_values(chain):
    loaded, captured = chain
    windows = make_windows(captured, LAYER_BYTES * 3 + 8 * 2 * 128 * 4)
    shown: list[int] = []
    run_windows(
        windows,
        captured,
        tensor_reader(loaded, captured),
        CPU,
        [{"x": torch.ones(2, 128)}, {"x": torch.zeros(2, 128)}],
        visit=lambda module, inputs: shown.append(len(inputs)),
    )
    assert shown == [1, 2]  # the second takes the layer before it and the value that skips


def test_no_budget_is_one_window(chain):
    _, captured = chain
    assert len(make_windows(captured, None)) == 1


def test_a_part_larger_than_the_budget_is_refused_with_its_bytes(chain):
    _, captured = chain
    with pytest.raises(InfeasibleError) as raised:
        make_windows(captured, 60_000)
    assert str(raised.value) == (
        "linear with weights and operands need 68.1 kB, and the budget is 60 kB; give --memory 68.1kB or more"
    )


@pytest.fixture(scope="module", params=["bert-tiny", "llama-tiny"])
def named(request) -> tuple[LoadedModel, Capture]:
    loaded = load_model(parse_model(request.param, seq=8))
    return loaded, capture(loaded)


@pytest.mark.nightly
def test_a_transformer_in_windows_has_the_unsplit_models_bits(named):
    loaded, captured = named
    largest = max(info.num_bytes for info in captured.tensors.values())
    windows = make_windows(captured, largest + 1_500_000)
    inputs = dict(zip([each.name for each in loaded.spec.inputs], item_inputs(loaded.spec, 0, 1, loaded), strict=True))
    whole = make_windows(captured, None)
    assert len(windows) > 1
    read = tensor_reader(loaded, captured)
    (in_windows,) = run_windows(windows, captured, read, CPU, [inputs])
    (at_once,) = run_windows(whole, captured, read, CPU, [inputs])
    assert same_bits(in_windows, at_once)
