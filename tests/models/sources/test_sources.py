"""What holds for the command line's model names as a whole."""

import pytest
import torch

from partkit.data.model import ModelSpec
from partkit.errors import UsageError
from partkit.models.sources import load_model, parse_model
from partkit.models.sources.default_inputs import override_inputs, parse_input, text_inputs


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("bert", {"dtype": "int4"}), "--dtype 'int4' is unknown; use one of float32, bfloat16, float16"),
        (("bert", {"batch": 0}), "--batch is 0; it is 1 or more"),
        (("bert", {"seq": -1}), "--seq is -1; it is 1 or more"),
        (("bert", {"inputs": ["x"]}), "--input 'x' is not an input; write it as input_ids=1x128:int64"),
        (("bert", {"inputs": ["x=0x2"]}), "--input 'x=0x2' has a dimension of size 0; every dimension is 1 or more"),
        (("onnx:x", {}), "'onnx:x' names no model source; known: a preset's name, hf:, timm:, py:, pt2:"),
        (("hf:", {}), "'hf:' names nothing after the colon"),
        (("preset:bert", {}), "'preset:bert' names no model source; known: a preset's name, hf:, timm:, py:, pt2:"),
    ],
)
def test_a_wrong_request_is_told_whole(call, message):
    text, options = call
    with pytest.raises(UsageError) as caught:
        parse_model(text, **options)
    assert str(caught.value) == message


def test_an_unknown_dtype_of_an_input_is_refused():
    with pytest.raises(UsageError, match="names the dtype 'int3'"):
        parse_input("x=1:int3", dtype="float32")


def test_a_bare_graph_cannot_be_loaded():
    with pytest.raises(UsageError, match="graph:made-up is a bare graph"):
        load_model(ModelSpec(source="graph:made-up"))


def test_an_override_keeps_the_defaults_range_and_place():
    defaults = text_inputs(["input_ids", "decoder_input_ids"], batch=1, seq=4, vocab=9)
    texts = {"attention_mask": "attention_mask=1x4:bool", "input_ids": "input_ids=2x3"}
    changed = override_inputs(defaults, texts, dtype="float32")
    assert [str(item) for item in changed] == [
        "input_ids=2x3:int64",
        "decoder_input_ids=1x4:int64",
        "attention_mask=1x4:bool",
    ]
    assert changed[0].range == (0, 9)


def test_an_input_that_forward_does_not_name_is_refused():
    with pytest.raises(UsageError, match="BertForMaskedLM of bert-tiny has no input 'inputs'"):
        load_model(parse_model("bert-tiny", inputs=["inputs=1x4:int64"]))


def test_a_spec_read_back_from_a_plan_loads_the_same_model():
    first = load_model(parse_model("bert-tiny", batch=2, seq=8, inputs=["attention_mask=2x8:int64"], seed=3))
    again = load_model(ModelSpec.model_validate_json(first.spec.model_dump_json()))
    assert again.spec == first.spec
    assert torch.equal(again.kwargs["input_ids"], first.kwargs["input_ids"])
    assert again.kwargs["attention_mask"].tolist() == [[1] * 8] * 2
