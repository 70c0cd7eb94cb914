import operator

import pytest
import torch

from partkit.errors import CaptureError
from partkit.models.capture.captured import operation_name
from partkit.models.capture.clean import evaluate, mask_of
from tests.planned import captured_model, freshly_captured


def targets(source: str) -> list[str]:
    return [str(node.target) for node in captured_model(source).graph.nodes if node.op == "call_function"]


def test_dropouts_and_masks_that_hide_nothing_are_gone_from_bert() -> None:
    captured = captured_model("bert-tiny")
    assert not any("dropout" in target for target in targets("bert-tiny"))
    attentions = [n for n in captured.graph.nodes if "scaled_dot_product" in str(n.target)]
    assert len(attentions) == 2
    assert all(len(node.args) < 4 or node.args[3] is None for node in attentions)


@pytest.mark.parametrize(("source", "num_layers"), [("llama-tiny", 4), ("gpt2", 12)])
def test_a_causal_mask_stays_and_is_free(source: str, num_layers: int) -> None:
    captured = captured_model(source, seq=5)
    masks = [mask_of(n) for n in captured.graph.nodes if "scaled_dot_product" in str(n.target)]
    assert len(masks) == num_layers
    (mask,) = set(masks)
    assert mask.name in captured.free
    assert torch.equal(evaluate(mask, captured.values).squeeze(), torch.ones(5, 5).tril().bool())


def test_tied_weights_are_one_tensor_under_their_first_name() -> None:
    captured = captured_model("py:tests.sample_models:skips")
    assert set(captured.tensors) == {
        "first.weight",
        "first.bias",
        *(f"middle.{i}.{kind}" for i in range(3) for kind in ("weight", "bias")),
        "last.bias",
    }


def test_no_cut_can_fall_between_a_tuple_and_its_elements() -> None:
    nodes = list(captured_model("py:tests.sample_models:skips").graph.nodes)
    picks = [index for index, node in enumerate(nodes) if node.target is operator.getitem]
    producer = next(index for index, node in enumerate(nodes) if "split" in str(node.target))
    assert picks == [producer + 1, producer + 2]


def test_writes_in_place_are_made_functional() -> None:
    overloads = [
        node.target
        for node in captured_model("py:tests.sample_models:writes_in_place").graph.nodes
        if isinstance(node.target, torch._ops.OpOverload)
    ]
    assert overloads
    assert not any(overload._schema.is_mutable for overload in overloads)


def test_state_kept_between_items_is_refused() -> None:
    with pytest.raises(CaptureError) as raised:
        captured_model("py:tests.sample_models:keeps_count")
    assert raised.value.message == (
        "the model changes its buffer 'count' in forward (1 in all), and items in flight together would see each "
        "other's state"
    )


def test_what_export_cannot_capture_is_named_with_its_source_line() -> None:
    with pytest.raises(CaptureError, match=r"sample_models\.py:\d+ in forward"):
        captured_model("py:tests.sample_models:branches")


def test_the_same_model_has_the_same_digest_and_another_has_another() -> None:
    digests = [freshly_captured(name).spec.structure_sha256 for name in ("bert-tiny", "bert-tiny", "llama-tiny")]
    assert digests[0] == digests[1] != digests[2]


def test_the_names_of_operations_hold_no_address_of_this_process() -> None:
    nodes = captured_model("py:tests.awkward_models:items_as_numbers").graph.nodes
    names = [operation_name(node) for node in nodes if node.op == "call_function"]
    assert "torch.sym_float" in names
    assert not any(" at 0x" in name for name in names)
