import pytest
import torch
from torch.utils import _pytree as pytree

from partkit.capture import Capture, capture, is_pick
from partkit.errors import MismatchError
from partkit.executors.loading import tensor_reader
from partkit.sources import load_model, parse_model
from partkit.sources.loaded import LoadedModel
from partkit.stages import ValueSpec, cut, materialise
from partkit.transport.buffers import SlotBuffer
from tests.planned import captured_model, even_cut, placed_names


def received(value: ValueSpec, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as an edge's buffer would hold it."""
    buffer = SlotBuffer([value], torch.device("cpu")).tensors[0]
    return buffer.copy_(tensor)


def run_split(loaded: LoadedModel, captured: Capture, stage_by_node: dict[str, int], count: int) -> list[torch.Tensor]:
    """The model's output leaves through its stages, values passed densely as an edge would."""
    read = tensor_reader(loaded, captured)
    flat = pytree.tree_leaves((loaded.args, loaded.kwargs))
    values = dict(zip([spec.name for spec in captured.spec.inputs], flat, strict=True))
    leaves: list[torch.Tensor] = []
    for stage in cut(captured, stage_by_node, count):
        module = materialise(stage, captured, read, torch.device("cpu"))
        with torch.inference_mode():
            given = module(*[received(value, values[value.name]) for value in stage.takes])
        values |= dict(zip(stage.gives, given, strict=True))
        leaves = [values[leaf] for leaf in stage.leaves or ()] or leaves
    return leaves


def reference(loaded: LoadedModel) -> list[torch.Tensor]:
    with torch.inference_mode():
        return pytree.tree_leaves(loaded.materialise()(*loaded.args, **loaded.kwargs))


@pytest.mark.parametrize("source", ["py:tests.sample_models:skips", "bert-tiny", "llama-tiny"])
def test_a_model_cut_at_every_operation_gives_the_same_bits(source: str) -> None:
    loaded = load_model(parse_model(source))
    captured = capture(loaded)
    expected = reference(loaded)
    names = placed_names(captured)
    for position in range(1, len(names)):
        stage_by_node = {name: int(index >= position) for index, name in enumerate(names)}
        if is_pick(captured.nodes[names[position]]):
            continue  # a tuple's elements stay with it
        found = run_split(loaded, captured, stage_by_node, 2)
        assert [torch.equal(a, b) for a, b in zip(expected, found, strict=True)] == [True] * len(expected), position


@pytest.mark.parametrize("source", ["gpt2", "t5-small", "vit", "resnet50", "bert-mini"])
@pytest.mark.slow
def test_presets_in_four_stages_agree_with_the_unsplit_model(source: str) -> None:
    loaded = load_model(parse_model(source))
    captured = capture(loaded)
    found = run_split(loaded, captured, even_cut(captured, 4), 4)
    expected = reference(loaded)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


def test_a_skipping_value_goes_straight_to_each_stage_that_uses_it_once() -> None:
    captured = captured_model("py:tests.sample_models:skips")
    stages = cut(captured, even_cut(captured, 3), 3)
    assert {to: [value.name for value in values] for to, values in stages[0].sends.items()}.keys() == {1, 2}
    assert "late" in [value.name for value in stages[0].sends[2]]
    assert all(len({value.name for value in values}) == len(values) for values in stages[0].sends.values())


def test_a_stage_holds_only_its_own_tensors() -> None:
    captured = captured_model("bert-tiny")
    first, last = cut(captured, even_cut(captured, 2), 2)
    assert not any("layer.1." in name for name in first.tensor_names)
    assert not any("layer.0.attention" in name for name in last.tensor_names)


def test_nodes_of_another_graph_are_refused_with_their_names() -> None:
    captured = captured_model("bert-tiny")
    names = placed_names(captured)
    stage_by_node = dict.fromkeys(names[1:], 0) | {"conv_9": 0}
    with pytest.raises(MismatchError) as raised:
        cut(captured, stage_by_node, 1)
    assert raised.value.message == (
        "the plan's nodes are not those of bert-tiny: 1 missing (input_ids), 1 unknown (conv_9)"
    )
