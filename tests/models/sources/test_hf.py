"""Folders made by save_pretrained read bit for bit as from_pretrained reads them, one tensor at a time."""

import json
import os
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from partkit.errors import FormatError, MachineError, UsageError, WeightsError
from partkit.models.capture import capture
from partkit.models.sources import load_model, parse_model
from partkit.models.weights import canonical_names

TINY = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32, "vocab_size": 50}
CONFIGS = {
    "BertForMaskedLM": transformers.BertConfig(**TINY, max_position_embeddings=32),
    "GPT2LMHeadModel": transformers.GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=50, n_positions=32),
    "LlamaForCausalLM": transformers.LlamaConfig(**TINY, num_key_value_heads=1),
    "MixtralForCausalLM": transformers.MixtralConfig(**TINY, num_key_value_heads=1, num_local_experts=3),
    "T5ForConditionalGeneration": transformers.T5Config(
        d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, vocab_size=50, decoder_start_token_id=0
    ),
    "ResNetForImageClassification": transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=3
    ),
    "ViTForImageClassification": transformers.ViTConfig(
        num_hidden_layers=1, num_attention_heads=2, hidden_size=16, intermediate_size=32, image_size=32
    ),
    "Qwen2MoeForCausalLM": transformers.Qwen2MoeConfig(
        **TINY,
        num_key_value_heads=1,
        num_experts=3,
        num_experts_per_tok=2,
        moe_intermediate_size=8,
        shared_expert_intermediate_size=8,
    ),
    # float16 keeps a buffer of its router in float32
    "DeepseekV3ForCausalLM": transformers.DeepseekV3Config(
        **TINY, num_key_value_heads=2, n_routed_experts=4, num_experts_per_tok=2, n_group=2, topk_group=1,
        moe_intermediate_size=8, q_lora_rank=8, kv_lora_rank=8, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8,
        first_k_dense_replace=1,
    ),
    "WhisperForConditionalGeneration": transformers.WhisperConfig(
        d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32, vocab_size=50, max_source_positions=20, max_target_positions=20,
        num_mel_bins=8, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    ),
    "CLIPModel": transformers.CLIPConfig(
        text_config={**TINY, "max_position_embeddings": 20, "projection_dim": 16},
        vision_config={
            "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 32, "patch_size": 8,
        },
        projection_dim=16,
    ),
}  # fmt: skip


def save(folder, architecture, *, dtype=torch.float32, **options):
    torch.manual_seed(0)
    model = getattr(transformers, architecture)(CONFIGS[architecture]).to(dtype)
    for name, buffer in model.named_buffers():  # so that running statistics are seen to come from the file
        if "running" in name:
            buffer.uniform_()
    model.save_pretrained(folder, **options)
    return str(folder)


def same_as_from_pretrained(folder, *, dtype=None):
    loaded = load_model(parse_model(f"hf:{folder}", dtype=dtype))
    model_class = getattr(transformers, loaded.module.config.architectures[0])
    given = "auto" if dtype is None else getattr(torch, dtype)
    expected = model_class.from_pretrained(folder, dtype=given).state_dict()
    canonical = canonical_names(loaded.module)
    assert expected.keys() == loaded.module.state_dict().keys()
    for name, tensor in expected.items():
        for alias in (name, canonical[name]):
            read = loaded.weights.read(alias)
            assert read.dtype == tensor.dtype, name
            assert torch.equal(read, tensor), name
    return loaded


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("architecture", CONFIGS)
def test_every_tensor_read_by_name_is_that_of_from_pretrained(tmp_path, architecture, dtype):
    same_as_from_pretrained(save(tmp_path, architecture), dtype=dtype)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_a_materialised_checkpoint_computes_what_from_pretrained_computes(tmp_path, architecture):
    folder = save(tmp_path, architecture)
    loaded = load_model(parse_model(f"hf:{folder}"))
    reference = getattr(transformers, architecture).from_pretrained(folder).eval()
    with torch.inference_mode():
        assert torch.equal(loaded.materialise()(**loaded.kwargs)[0], reference(**loaded.kwargs)[0])


def test_a_sharded_checkpoint_reads_like_a_whole_one(tmp_path):
    folder = save(tmp_path, "LlamaForCausalLM", max_shard_size="5KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    same_as_from_pretrained(folder, dtype="float32")


def test_a_base_checkpoint_without_the_models_prefix_is_found(tmp_path):
    folder = save(tmp_path, "BertForMaskedLM")
    file = tmp_path / "model.safetensors"
    tensors = {name.removeprefix("bert."): tensor for name, tensor in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})
    same_as_from_pretrained(folder, dtype="float32")


def test_old_norm_names_are_renamed(tmp_path):
    folder = save(tmp_path, "BertForMaskedLM")
    file = tmp_path / "model.safetensors"
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): tensor for name, tensor in load_file(file).items()}
    old = {name.replace("LayerNorm.bias", "LayerNorm.beta"): tensor for name, tensor in old.items()}
    save_file(old, file, metadata={"format": "pt"})
    assert any(name.endswith("gamma") for name in old)
    same_as_from_pretrained(folder, dtype="float32")


def test_tied_names_with_different_tensors_are_untied_as_from_pretrained_does(tmp_path):
    folder = save(tmp_path, "GPT2LMHeadModel")
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    save_file({**tensors, "lm_head.weight": tensors["transformer.wte.weight"] + 1}, file, metadata={"format": "pt"})
    loaded = same_as_from_pretrained(folder, dtype="float32")
    assert loaded.module.lm_head.weight is not loaded.module.transformer.wte.weight


def test_a_folder_without_weights_gets_seeded_ones(tmp_path):
    CONFIGS["BertForMaskedLM"].save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(json.dumps({**json.loads(text), "architectures": ["BertForMaskedLM"]}))
    loaded = load_model(parse_model(f"hf:{tmp_path}"))
    name = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(loaded.weights.read(name), load_model(parse_model(f"hf:{tmp_path}")).weights.read(name))
    assert [str(item) for item in loaded.spec.inputs] == ["input_ids=1x32:int64"]


def test_a_task_picks_the_auto_class_and_its_missing_head_is_an_error(tmp_path):
    folder = save(tmp_path, "BertForMaskedLM")
    assert type(load_model(parse_model(f"hf:{folder}", task="masked-lm")).module).__name__ == "BertForMaskedLM"
    with pytest.raises(WeightsError) as caught:
        load_model(parse_model(f"hf:{folder}", task="sequence-classification"))
    assert str(caught.value) == (
        f"{tmp_path / 'model.safetensors'} has no tensor for 'bert.pooler.dense.weight' of "
        "BertForSequenceClassification; the checkpoint is of another model or task, or incomplete"
    )


def test_heads_that_the_task_leaves_out_are_no_fault(tmp_path):
    torch.manual_seed(0)
    transformers.BertForPreTraining(CONFIGS["BertForMaskedLM"]).save_pretrained(tmp_path)
    loaded = load_model(parse_model(f"hf:{tmp_path}", task="base"))
    assert type(loaded.module).__name__ == "BertModel"
    loaded.materialise()
    assert type(load_model(parse_model(f"hf:{tmp_path}", task="masked-lm")).module).__name__ == "BertForMaskedLM"


def rewrite(folder, change):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    return file


def fault(folder):
    with pytest.raises(WeightsError) as caught:
        load_model(parse_model(f"hf:{folder}"))
    return str(caught.value)


def test_a_missing_tensor_is_named_with_its_file(tmp_path):
    save(tmp_path, "LlamaForCausalLM")
    file = rewrite(tmp_path, lambda tensors: tensors.pop("model.norm.weight"))
    assert fault(tmp_path) == (
        f"{file} has no tensor for 'model.norm.weight' of LlamaForCausalLM; "
        "the checkpoint is of another model or task, or incomplete"
    )


def test_a_tensor_of_another_shape_is_named_with_both_shapes(tmp_path):
    save(tmp_path, "LlamaForCausalLM")
    file = rewrite(tmp_path, lambda tensors: tensors.update({"model.norm.weight": torch.ones(17)}))
    assert fault(tmp_path) == (
        f"{file}: tensor 'model.norm.weight' makes 'model.norm.weight' of shape [17], and LlamaForCausalLM needs "
        "[16]; the config.json beside it belongs to another model"
    )


@pytest.mark.parametrize("extra", ["model.layers.2.mlp.up_proj.weight", "surplus.weight", "model.norm.bias"])
def test_a_tensor_without_a_place_is_named_with_its_file(tmp_path, extra):
    save(tmp_path, "LlamaForCausalLM")
    file = rewrite(tmp_path, lambda tensors: tensors.update({extra: torch.ones(3)}))
    assert fault(tmp_path) == (
        f"{file}: tensor {extra!r} has no place in LlamaForCausalLM; the config.json beside it belongs to another model"
    )


def test_a_missing_expert_is_named(tmp_path):
    save(tmp_path, "MixtralForCausalLM")
    experts = "model.layers.1.block_sparse_moe.experts"
    file = rewrite(tmp_path, lambda tensors: tensors.pop(f"{experts}.2.w2.weight"))
    assert fault(tmp_path) == (
        f"{file}: 2 tensors from '{experts}.0.w2.weight' to '{experts}.1.w2.weight' make "
        "'model.layers.1.mlp.experts.down_proj' of shape [2, 16, 32], and MixtralForCausalLM needs [3, 16, 32]; "
        "the config.json beside it belongs to another model, or one of the tensors is missing"
    )


def test_a_truncated_file_is_named_with_the_first_tensor_cut_off(tmp_path):
    save(tmp_path, "LlamaForCausalLM")
    file = tmp_path / "model.safetensors"
    expected = cut_short(file)
    assert fault(tmp_path) == expected
    file.write_bytes(b"\x10\x00")
    assert fault(tmp_path) == f"{file} is truncated: it has 2 bytes and not even its whole header"


def cut_short(file):
    """Take the last 4 bytes away; returns what must be told of that."""
    data = file.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    ends = [(key, item["data_offsets"][1]) for key, item in header.items() if key != "__metadata__"]
    file.write_bytes(data[:-4])
    key, end = max(ends, key=lambda item: item[1])
    return (
        f"{file} is truncated: tensor {key!r} ends at byte {end} of the data, which has {end - 4} bytes; "
        "copy or download the file again"
    )


def test_a_truncated_shard_is_named_and_not_the_index(tmp_path):
    save(tmp_path, "LlamaForCausalLM", max_shard_size="5KB")
    shard = sorted(tmp_path.glob("*.safetensors"))[2]
    expected = cut_short(shard)
    assert fault(tmp_path) == expected


def test_a_file_that_is_no_safetensors_file_is_named(tmp_path):
    save(tmp_path, "LlamaForCausalLM")
    file = tmp_path / "model.safetensors"
    file.write_bytes((4).to_bytes(8, "little") + b"{}{}" + bytes(100))
    assert fault(tmp_path) == f"{file} isn't a safetensors file: its header can't be read"


def test_an_index_that_names_what_is_not_there_is_told_whole(tmp_path):
    save(tmp_path, "LlamaForCausalLM", max_shard_size="5KB")
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    first, second = sorted(tmp_path.glob("*.safetensors"))[:2]
    key = next(key for key, name in index["weight_map"].items() if name == first.name)

    def with_entry(name):
        path.write_text(json.dumps({**index, "weight_map": {**index["weight_map"], key: name}}))
        return fault(tmp_path)

    assert with_entry(second.name) == f"{second} has no tensor {key!r}, which {path.name} says is there"
    assert with_entry("../x.safetensors") == f"{path} names the file '../x.safetensors', which isn't in the same folder"
    path.write_text("{}")
    assert fault(tmp_path) == f"{path} isn't a safetensors index: KeyError('weight_map')"


def test_stored_numbers_are_cast_to_the_dtype_asked_for(tmp_path):
    save(tmp_path, "LlamaForCausalLM", dtype=torch.bfloat16)
    loaded = same_as_from_pretrained(str(tmp_path), dtype="float32")
    stored = load_file(tmp_path / "model.safetensors")["lm_head.weight"]
    assert stored.dtype == torch.bfloat16
    assert torch.equal(loaded.weights.read("lm_head.weight"), stored.float())


@pytest.mark.parametrize("told", [True, False], ids=["by the config", "by the tensors"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_checkpoint_keeps_its_own_dtype_unless_another_is_asked_for(tmp_path, dtype, told):
    save(tmp_path, "T5ForConditionalGeneration", dtype=getattr(torch, dtype))  # keeps some of float16 in float32
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    assert config["dtype"] == dtype
    if not told:
        path.write_text(json.dumps({name: value for name, value in config.items() if name != "dtype"}))
    loaded = same_as_from_pretrained(str(tmp_path))
    assert loaded.spec.dtype == dtype
    captured = capture(loaded).spec
    assert load_model(captured).spec.dtype == dtype
    earlier = captured.model_copy(update={"dtype": "float32"})  # as plans of earlier versions have it
    assert load_model(earlier).weights.read("shared.weight").dtype == torch.float32
    assert load_model(parse_model(f"hf:{tmp_path}", dtype="float32")).spec.dtype == "float32"


def test_a_checkpoint_of_several_dtypes_is_what_from_pretrained_makes_of_it(tmp_path):
    folder = save(tmp_path, "LlamaForCausalLM", dtype=torch.bfloat16)
    file = tmp_path / "model.safetensors"
    tensors = {name: tensor.float() if "norm" in name else tensor for name, tensor in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})
    loaded = same_as_from_pretrained(folder)
    assert loaded.spec.dtype == "bfloat16"
    path = tmp_path / "config.json"  # without it, the first tensor by name is the head, which is bfloat16
    path.write_text(json.dumps({**json.loads(path.read_text()), "dtype": None}))
    assert same_as_from_pretrained(folder).spec.dtype == "bfloat16"
    with torch.inference_mode():
        reference = transformers.LlamaForCausalLM.from_pretrained(folder, dtype="auto").eval()
        assert torch.equal(loaded.materialise()(**loaded.kwargs)[0], reference(**loaded.kwargs)[0])


def mapped(file):
    """True while the process maps any part of a file."""
    return str(file) in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize(("dtype", "stays_mapped"), [("float32", True), ("bfloat16", False)])
def test_only_tensors_used_as_stored_are_mapped(tmp_path, dtype, stays_mapped):
    save(tmp_path, "LlamaForCausalLM")
    loaded = load_model(parse_model(f"hf:{tmp_path}", dtype=dtype))
    tensor = loaded.weights.read("lm_head.weight")
    assert mapped(tmp_path / "model.safetensors") is stays_mapped
    assert tensor.dtype == getattr(torch, dtype)


def test_a_file_cut_short_after_it_was_checked_is_named(tmp_path):
    save(tmp_path, "LlamaForCausalLM")
    loaded = load_model(parse_model(f"hf:{tmp_path}", dtype="bfloat16"))
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(WeightsError) as caught:
        loaded.weights.read("model.norm.weight")
    assert str(caught.value) == f"{file} is truncated: tensor 'model.norm.weight' can't be read whole"


def test_quantized_numbers_are_not_cast(tmp_path):
    save(tmp_path, "LlamaForCausalLM")
    file = rewrite(tmp_path, lambda tensors: tensors.update({"lm_head.weight": tensors["lm_head.weight"].char()}))
    assert fault(tmp_path) == (
        f"{file}: tensor 'lm_head.weight' is I8, and LlamaForCausalLM needs floating-point numbers; "
        "the checkpoint is quantized: use the unquantized model"
    )


def test_a_missing_shard_is_named(tmp_path):
    save(tmp_path, "LlamaForCausalLM", max_shard_size="5KB")
    shard = sorted(tmp_path.glob("*.safetensors"))[1]
    shard.unlink()
    assert fault(tmp_path) == (
        f"{shard} is missing, and model.safetensors.index.json names it; download the model again"
    )


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"]
)
def test_pickled_weights_are_refused(tmp_path, name):
    save(tmp_path, "LlamaForCausalLM")
    (tmp_path / "model.safetensors").rename(tmp_path / name)
    assert fault(tmp_path) == (
        f"{tmp_path / name} is a pickle, which can run code when it is read, so partkit doesn't; "
        "convert it to safetensors: load the model in transformers and call save_pretrained"
    )


def test_inputs_follow_the_config_and_stop_at_its_positions(tmp_path):
    def inputs(architecture, **options):
        folder = save(tmp_path / architecture, architecture)
        return [str(item) for item in load_model(parse_model(f"hf:{folder}", **options)).spec.inputs]

    assert inputs("WhisperForConditionalGeneration") == [
        "input_features=1x8x40:float32",
        "decoder_input_ids=1x20:int64",
    ]
    assert inputs("CLIPModel", batch=2, seq=5) == ["input_ids=2x5:int64", "pixel_values=2x3x32x32:float32"]
    assert inputs("LlamaForCausalLM", batch=2) == ["input_ids=2x128:int64"]
    with pytest.raises(UsageError, match="has 32 positions, and the sequence asked for is 33 long; use --seq 32"):
        inputs("GPT2LMHeadModel", seq=33)
    with pytest.raises(UsageError, match="ViTForImageClassification reads no tokens, so --seq has no meaning here"):
        inputs("ViTForImageClassification", seq=33)


def test_a_cached_model_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--partkit--tiny" / "snapshots" / "0123"
    save(snapshot, "BertForMaskedLM")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0123")
    loaded = load_model(parse_model("hf:partkit/tiny", seq=4))
    assert loaded.spec.source == "hf:partkit/tiny"
    name = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(loaded.weights.read(name), load_file(snapshot / "model.safetensors")[name])


def test_a_quantized_checkpoint_is_refused(tmp_path):
    config = {"architectures": ["BertModel"], "model_type": "bert", "quantization_config": {"quant_method": "fp8"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="is of a quantized checkpoint, which partkit can't split"):
        load_model(parse_model(f"hf:{tmp_path}"))


def test_a_name_that_is_not_in_the_cache_is_refused_without_network():
    with pytest.raises(MachineError, match="is neither a folder nor in the local cache") as caught:
        parse_model("hf:partkit/never-downloaded")
    assert caught.value.hint == "run 'hf download partkit/never-downloaded' first, or give the folder"


@pytest.mark.parametrize(
    ("target", "message"),
    [("./nowhere", "there is no folder nowhere; check the path"), ("/no/where", "there is no folder /no/where")],
)
def test_a_folder_that_is_not_there_is_refused(target, message):
    with pytest.raises(UsageError) as caught:
        parse_model(f"hf:{target}")
    assert str(caught.value).startswith(message)


def test_a_broken_config_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(FormatError, match=r"config\.json isn't a config"):
        parse_model(f"hf:{tmp_path}")
    (tmp_path / "config.json").write_text('{"architectures": ["NoSuchModel"], "model_type": "bert"}')
    with pytest.raises(UsageError, match="has no class NoSuchModel"):
        load_model(parse_model(f"hf:{tmp_path}"))
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"], "model_type": "nosuch"}')
    with pytest.raises(UsageError, match="can't build the model of"):
        load_model(parse_model(f"hf:{tmp_path}"))


def test_an_unknown_task_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(UsageError) as caught:
        parse_model(f"hf:{tmp_path}", task="masked-ml")
    assert str(caught.value).startswith("--task 'masked-ml' is unknown; did you mean masked-lm")


CODE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel
class OwnConfig(PretrainedConfig):
    model_type = "partkit-own"
class OwnModel(PreTrainedModel):
    config_class = OwnConfig
    def __init__(self, config):
        super().__init__(config)
        self.linear = torch.nn.Linear(4, 4)
        self.post_init()
    def _init_weights(self, module):
        pass
    def forward(self, x):
        return self.linear(x)
"""


def test_a_models_own_code_runs_only_with_consent(tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    (tmp_path / "own.py").write_text(CODE)
    config = {"architectures": ["OwnModel"], "model_type": "partkit-own"}
    config["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError) as caught:
        load_model(parse_model(f"hf:{tmp_path}"))
    assert str(caught.value) == (
        f"{tmp_path} comes with code of its own (AutoConfig, AutoModel); read that code, then add --trust-remote-code"
    )
    spec = parse_model(f"hf:{tmp_path}", trust_remote_code=True, inputs=["x=2x4:float32"])
    loaded = load_model(spec)
    assert loaded.materialise()(**loaded.kwargs).shape == (2, 4)
    with pytest.raises(UsageError) as caught:
        load_model(spec, allow_code=False)
    assert str(caught.value) == (
        f"the plan runs code of its own (hf:{tmp_path}), which needs consent; read that code, then add --allow-code"
    )


RUN = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\n"


@pytest.mark.parametrize("task", [None, "base", "masked-lm", "speech-seq2seq"])
def test_code_beside_a_known_model_never_runs_unasked(tmp_path, monkeypatch, task):
    """Neither what auto_map names, nor what another config file that the first one names does."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("transformers asked whether to run the code"))
    (tmp_path / "own.py").write_text(RUN)
    auto_map = {"AutoConfig": "own.A", "AutoModel": "own.B", "AutoModelForSpeechSeq2Seq": "own.C"}
    config = CONFIGS["BertForMaskedLM"].to_dict() | {"architectures": ["BertForMaskedLM"], "auto_map": auto_map}
    (tmp_path / "config.json").write_text(json.dumps(config | {"configuration_files": ["config.4.0.0.json"]}))
    (tmp_path / "config.4.0.0.json").write_text(json.dumps(config))
    spec = parse_model(f"hf:{tmp_path}", task=task)
    if task == "speech-seq2seq":
        with pytest.raises(UsageError):
            load_model(spec)
    else:
        assert load_model(spec).spec.inputs[0].name == "input_ids"
    (tmp_path / "config.4.0.0.json").write_text(json.dumps(config | {"model_type": "own"}))
    with pytest.raises(UsageError):
        load_model(spec)
    assert not list(tmp_path.rglob("ran"))


@pytest.mark.parametrize(
    ("within", "key"),
    [
        ((), "attn_implementation"),
        ((), "_attn_implementation"),
        ((), "_attn_implementation_internal"),
        ((), "experts_implementation"),
        (("text_config",), "attn_implementation"),
        (("vision_config",), "_attn_implementation"),
    ],
)
@pytest.mark.parametrize("kernel", ["kernels-community/vllm-flash-attn3", "flash_attention_2"])
def test_kernels_that_a_config_names_are_not_loaded(tmp_path, monkeypatch, within, key, kernel):
    monkeypatch.setattr(
        "transformers.modeling_utils.lazy_import_flash_attention", lambda *_, **__: pytest.fail("a kernel was loaded")
    )
    config = CONFIGS["CLIPModel"].to_dict() | {"architectures": ["CLIPModel"]}
    inner = config
    for part in within:
        inner = inner[part]
    inner[key] = kernel
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError) as caught:
        load_model(parse_model(f"hf:{tmp_path}"))
    assert caught.value.message == f"{tmp_path} asks for the kernel {kernel!r}, which is code that comes with no model"


def test_kernels_that_a_model_itself_would_fetch_are_switched_off():
    assert os.environ["USE_HUB_KERNELS"] == "NO"
