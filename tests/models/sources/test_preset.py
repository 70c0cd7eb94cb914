"""Presets build without weights, and their figures in the table are true."""

import subprocess
import sys

import pytest
import torch

from partkit.errors import UsageError
from partkit.models.sources import list_models, load_model, parse_model
from partkit.models.sources.preset import PRESETS

SMALL = ["bert-tiny", "llama-tiny"]


@pytest.mark.parametrize("name", PRESETS)
def test_the_table_gives_each_presets_exact_parameter_count(name):
    loaded = load_model(parse_model(name))
    assert sum(parameter.numel() for parameter in loaded.module.parameters()) == PRESETS[name].parameters


@pytest.mark.parametrize("name", PRESETS)
def test_parameters_are_on_meta_and_buffers_and_inputs_are_real(name):
    loaded = load_model(parse_model(name))
    assert all(parameter.is_meta and not parameter.requires_grad for parameter in loaded.module.parameters())
    assert not any(buffer.is_meta for buffer in loaded.module.buffers())
    assert not loaded.module.training
    shapes = {key: tuple(value.shape) for key, value in loaded.kwargs.items()}
    assert shapes == {item.name: item.shape for item in loaded.spec.inputs}


@pytest.mark.parametrize("name", SMALL)
def test_a_materialised_preset_runs_and_is_the_same_each_time(name):
    loaded = load_model(parse_model(name, seq=16))
    with torch.inference_mode():
        first = loaded.materialise()(**loaded.kwargs)[0]
        second = load_model(parse_model(name, seq=16)).materialise()(**loaded.kwargs)[0]
    assert first.isfinite().all()
    assert torch.equal(first, second)


def test_bert_is_the_published_experiments_model():
    config = load_model(parse_model("bert")).module.config
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (768, 12, 12)
    assert (config.intermediate_size, config.hidden_act, config.max_position_embeddings) == (3072, "gelu", 512)
    assert (config.type_vocab_size, config.vocab_size, config.layer_norm_eps) == (2, 21128, 1e-12)
    assert config.pad_token_id == 0
    (tokens,) = parse_model("bert").inputs
    assert (str(tokens), tokens.range) == ("input_ids=1x128:int64", (0, 21128))


def test_tied_weights_are_one_parameter_before_and_after_materialising():
    loaded = load_model(parse_model("bert-tiny"))
    for module in (loaded.module, loaded.materialise()):
        assert module.cls.predictions.decoder.weight is module.bert.embeddings.word_embeddings.weight


def test_an_unknown_preset_is_refused_with_the_nearest_names():
    with pytest.raises(UsageError) as caught:
        parse_model("bert-tinny")
    assert str(caught.value) == (
        "there is no model 'bert-tinny'; did you mean bert-tiny or bert-mini or bert? "
        "'partkit models' lists all; a folder is hf:DIR"
    )


def test_a_sequence_longer_than_the_positions_is_refused():
    with pytest.raises(UsageError, match="bert has 512 positions, and the sequence asked for is 513 long"):
        parse_model("bert", seq=513)


def test_a_sequence_length_for_an_image_model_is_refused():
    with pytest.raises(UsageError, match="vit reads images, so --seq has no meaning here"):
        parse_model("vit", seq=4)


def test_batch_seq_and_dtype_change_the_default_inputs():
    assert [str(item) for item in parse_model("t5-small", batch=2, seq=8).inputs] == [
        "input_ids=2x8:int64",
        "decoder_input_ids=2x8:int64",
    ]
    assert str(parse_model("vit", batch=3, dtype="bfloat16").inputs[0]) == "pixel_values=3x3x224x224:bfloat16"


def test_listing_models_imports_no_torch():
    code = (
        "import sys, partkit.models.sources as s; s.list_models(); s.parse_model('bert'); print('torch' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout == "False\n"
    assert [info.name for info in list_models()] == list(PRESETS)


def test_half_precision_keeps_what_transformers_keeps_in_float32():
    llama = load_model(parse_model("llama-tiny", dtype="bfloat16")).module
    assert llama.model.rotary_emb.inv_freq.dtype == torch.float32
    assert llama.lm_head.weight.dtype == torch.bfloat16
    t5 = load_model(parse_model("t5-small", dtype="float16")).module
    assert t5.encoder.block[0].layer[1].DenseReluDense.wo.weight.dtype == torch.float32
    assert t5.encoder.block[0].layer[1].DenseReluDense.wi.weight.dtype == torch.float16
