"""Stages over slots, in one process: items of many shapes through the same buffers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree

from partkit.executors.pipeline.slots import StageSlots
from partkit.models.capture import Capture, capture
from partkit.models.inputs import split_arguments, synthetic_inputs
from partkit.models.of_job import tensor_reader
from partkit.models.sources import load_model, parse_model
from partkit.models.sources.loaded import LoadedModel
from partkit.stages import forms as stage_forms
from partkit.stages.cut import Computed, StageGraph, cut
from partkit.stages.forms import StageForms
from partkit.transport.buffers import SlotBuffer
from partkit.transport.edge import Receiver, Sender
from partkit.transport.host import HostFeed
from partkit.transport.local import LocalChannel
from tests.planned import even_cut

CPU = torch.device("cpu")
NUM_SLOTS = 2
SHAPES = [{"batch": b, "seq": s} for b, s in ((4, 24), (1, 5), (3, 24), (1, 5), (4, 7), (2, 23), (4, 24), (1, 1))]


class TwoStages:
    """Two stages of a model joined by a channel, run item by item."""

    def __init__(self, loaded: LoadedModel, captured: Capture, sizes_of: Callable[[int], Mapping[str, int]]) -> None:
        stages = cut(captured, even_cut(captured, 2), 2)
        read = tensor_reader(loaded, captured)
        self.forms = [StageForms(stage, captured, read, CPU, sizes_of=sizes_of) for stage in stages]
        channel = LocalChannel(None, None, 1)
        first, second = stages
        buffers = [[SlotBuffer(first.sends[1], CPU) for _ in range(NUM_SLOTS)] for _ in range(2)]
        self.sender = Sender([channel], buffers[0])
        self.receiver = Receiver(second.receives[0], [channel], buffers[1], values_of=self.forms[1].received(0))
        self.feed = HostFeed(first.takes, lambda item: self.inputs[item], NUM_SLOTS, None)
        self.inputs: dict[int, list[torch.Tensor]] = {}
        self.slots = [
            self._slots(0, self.feed, {}, {1: self.sender}),
            self._slots(1, HostFeed((), lambda _: (), NUM_SLOTS, None), {0: self.receiver}, {}),
        ]
        self.stages: tuple[StageGraph, ...] = stages

    def _slots(self, stage: int, feed: HostFeed, receivers: Any, senders: Any) -> StageSlots:
        return StageSlots(self.forms[stage], feed, receivers, senders, num_slots=NUM_SLOTS, compute=None)

    @torch.inference_mode()
    def __call__(self, item: int, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        slot = item % NUM_SLOTS
        self.inputs[item] = tensors
        self.feed.post(slot, item)
        self.feed.wait(slot)
        self.receiver.post(slot, item)
        self.slots[0].run(slot, item)
        self.sender.send(slot, item)
        self.receiver.wait(slot)
        self.slots[1].run(slot, item)
        values = self.slots[1].outputs(slot)
        return [values[leaf.name] for leaf in self.stages[1].leaves or () if isinstance(leaf, Computed)]


@pytest.mark.parametrize("max_forms", [32, 2])
def test_items_of_many_shapes_pass_through_the_same_slots(max_forms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_forms, "MAX_FORMS", max_forms)
    loaded = load_model(parse_model("llama-tiny", batch=4, seq=24, dynamic=("batch", "seq")))
    captured = capture(loaded)
    pipeline = TwoStages(loaded, captured, SHAPES.__getitem__)
    unsplit = loaded.materialise()
    for item, sizes in enumerate(SHAPES):
        tensors = synthetic_inputs(captured.spec.resized(sizes), item)
        args, kwargs = split_arguments(loaded, tensors)
        with torch.inference_mode():
            expected = pytree.tree_leaves(unsplit(*args, **kwargs))
        assert torch.equal(pipeline(item, list(tensors.values()))[0], expected[0]), sizes
        buffer = pipeline.sender.slots[item % NUM_SLOTS]
        assert (buffer.used.numel() == buffer.bytes.numel()) == (sizes == SHAPES[0]), "a small item sends few bytes"


def test_each_shape_is_made_once_and_shares_the_weights() -> None:
    loaded = load_model(parse_model("bert-tiny", batch=4, dynamic=("batch",)))
    captured = capture(loaded)
    read = tensor_reader(loaded, captured)
    names: list[str] = []

    def counted(name: str) -> torch.Tensor:
        names.append(name)
        return read(name)

    (stage,) = cut(captured, even_cut(captured, 1), 1)
    forms = StageForms(stage, captured, counted, CPU, sizes_of=lambda item: {"batch": 1 + item % 2})
    modules = [forms.of(item).module for item in range(4)]
    assert (modules[0] is modules[2], modules[1] is modules[3], modules[0] is modules[1]) == (True, True, False)
    assert len(names) == len(set(names))


def test_a_stage_whose_sizes_depend_on_data_says_so() -> None:
    for name, expected in (("rows_where_true", [True]), ("conv_branches", [False])):
        captured = capture(load_model(parse_model(f"py:tests.awkward_models:{name}")))
        assert [stage.depends_on_data for stage in cut(captured, even_cut(captured, 1), 1)] == expected


def test_outputs_that_are_numbers_are_left_out_as_the_unsplit_model_leaves_them() -> None:
    loaded = load_model(parse_model("py:tests.awkward_models:number_as_output"))
    captured = capture(loaded)
    (stage,) = cut(captured, even_cut(captured, 1), 1)
    forms = StageForms(stage, captured, tensor_reader(loaded, captured), CPU, sizes_of=lambda _: {})
    feed = HostFeed(stage.takes, lambda _: list(loaded.args), 1, None)
    slots = StageSlots(forms, feed, {}, {}, num_slots=1, compute=None)
    feed.post(0, 0)
    feed.wait(0)
    with torch.inference_mode():
        slots.run(0, 0)
    assert list(slots.outputs(0)) == ["linear"]
