import pytest
import torch
from torch import nn

from partkit.errors import MismatchError
from partkit.models.capture import capture
from partkit.models.sources import load_model, parse_model
from partkit.stages.cut import cut
from tests.planned import captured_model, even_cut
from tests.split_run import reference, run_split


@pytest.mark.nightly
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
    held = [{str(node.target) for node in stage.graph.nodes if node.op == "get_attr"} for stage in (first, last)]
    assert held[0] | held[1] == captured.tensors.keys()
    assert not any("layer.1." in name for name in held[0])
    assert not any("layer.0.attention" in name for name in held[1])


class Plain(nn.Sequential):
    """Its forward calls its input ``input``, which torch.fx renames since Python has a function of that name."""


def plain() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    return Plain(nn.Linear(4, 4), nn.ReLU()), (torch.ones(2, 4),)


def test_an_input_keeps_its_name_where_its_node_cannot() -> None:
    captured = captured_model("py:tests.stages.test_cut:plain")
    assert [spec.name for spec in captured.spec.inputs] == ["input"]
    assert [stage.model_inputs for stage in cut(captured, even_cut(captured, 2), 2)] == [("input",), ()]


def test_nodes_of_another_graph_are_refused_with_their_names() -> None:
    captured = captured_model("bert-tiny")
    names = captured.placed
    stage_by_node = dict.fromkeys(names[1:], 0) | {"conv_9": 0}
    with pytest.raises(MismatchError) as raised:
        cut(captured, stage_by_node, 1)
    assert raised.value.message == (
        "the plan's nodes are not those of bert-tiny: 1 missing (input_ids), 1 unknown (conv_9)"
    )
