"""Synthetic inputs are a function of the spec and the item, in every process."""

import pytest
import torch

from partkit.data.model import InputSpec, ModelSpec
from partkit.errors import UsageError
from partkit.models.inputs import split_arguments, synthetic_inputs
from partkit.models.sources import load_model, parse_model

SPEC = ModelSpec(
    seed=1,
    inputs=(
        InputSpec(name="tokens", shape=(50, 40), dtype="int64", range=(3, 9)),
        InputSpec(name="bits", shape=(200,), dtype="int32"),
        InputSpec(name="pixels", shape=(100, 100), dtype="bfloat16"),
        InputSpec(name="share", shape=(1000,), dtype="float32", range=(2.0, 4.0)),
        InputSpec(name="keep", shape=(5,), dtype="bool"),
        InputSpec(name="attention_mask", shape=(2, 3), dtype="int64"),
    ),
)


def test_values_are_drawn_as_their_specs_say():
    made = synthetic_inputs(SPEC, 0)
    assert {name: (tuple(value.shape), value.dtype) for name, value in made.items()} == {
        item.name: (item.shape, getattr(torch, item.dtype)) for item in SPEC.inputs
    }
    assert made["tokens"].unique().tolist() == [3, 4, 5, 6, 7, 8]
    assert made["bits"].unique().tolist() == [0, 1]
    assert made["pixels"].float().std().item() == pytest.approx(1, rel=0.05)
    assert 2 <= made["share"].min() < 2.1 < 3.9 < made["share"].max() < 4
    assert made["keep"].all()
    assert made["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 1]]


def test_values_depend_on_the_item_and_the_seed_and_not_on_torchs_own_state():
    first = synthetic_inputs(SPEC, 0)["tokens"]
    torch.randn(3)
    assert torch.equal(first, synthetic_inputs(SPEC, 0)["tokens"])
    assert not torch.equal(first, synthetic_inputs(SPEC, 1)["tokens"])
    assert not torch.equal(first, synthetic_inputs(SPEC.model_copy(update={"seed": 2}), 0)["tokens"])


def test_adding_an_input_leaves_the_others_values_alone():
    more = SPEC.model_copy(update={"inputs": (InputSpec(name="new", shape=(1,), dtype="float32"), *SPEC.inputs)})
    assert torch.equal(synthetic_inputs(SPEC, 4)["tokens"], synthetic_inputs(more, 4)["tokens"])


def test_a_call_is_rebuilt_from_tensors_by_name():
    loaded = load_model(parse_model("bert-tiny", seq=4))
    tokens = torch.zeros(1, 4, dtype=torch.int64)
    assert split_arguments(loaded, {"input_ids": tokens}) == ((), {"input_ids": tokens})
    with pytest.raises(UsageError) as caught:
        split_arguments(loaded, {"input": tokens})
    assert str(caught.value) == "the input 'input_ids' is missing; given: input"
