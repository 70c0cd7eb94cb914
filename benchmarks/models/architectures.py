"""The models of the table: real architectures with few layers and small widths, nothing else left out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_ENCODER = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 128,
    "max_position_embeddings": 64,
}
_DECODER = {**_ENCODER, "num_key_value_heads": 2, "tie_word_embeddings": False}
_TOWER = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
_SEQ = 16


@dataclass(frozen=True)
class Architecture:
    """A row: a transformers class with its config, or a source that needs no folder."""

    name: str
    class_name: str = ""
    model_type: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    """For ``parse_model``: seq, inputs, ..."""

    def folder_source(self, root: Path) -> str:
        """``hf:DIR`` with this model's config.json written there, or the source itself."""
        if self.source:
            return self.source
        from transformers import AutoConfig

        folder = root / self.name.replace(" ", "-").replace(",", "")
        AutoConfig.for_model(self.model_type, **self.settings).save_pretrained(folder)
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": [self.class_name]}))
        return f"hf:{folder}"


def _text(name: str, class_name: str, model_type: str, settings: Mapping[str, Any], **options: Any) -> Architecture:
    return Architecture(name, class_name, model_type, settings, options={"seq": _SEQ, **options})


_MASK = {"inputs": (f"attention_mask=1x{_SEQ}:int64",)}
_WHISPER = {
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 3,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "vocab_size": 128,
    "num_mel_bins": 16,
    "max_source_positions": 32,
    "max_target_positions": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
_BART = {
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 3,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "vocab_size": 128,
    "max_position_embeddings": 64,
}
_T5 = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 3,
    "num_heads": 4,
    "vocab_size": 128,
    "decoder_start_token_id": 0,
}
_SEGFORMER = {
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 2, 3, 4],
    "decoder_hidden_size": 32,
    "image_size": 64,
}
_CLIP = {
    "text_config": {**_ENCODER, "projection_dim": 16},
    "vision_config": {**_TOWER, "image_size": 32, "patch_size": 8, "projection_dim": 16},
    "projection_dim": 16,
}
_WAV2VEC2 = {
    **_TOWER,
    "conv_dim": [16] * 7,
    "vocab_size": 32,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
_SWIN = {
    "image_size": 64,
    "patch_size": 4,
    "window_size": 4,
    "embed_dim": 16,
    "depths": [2, 2, 2],
    "num_heads": [2, 4, 8],
}
_RESNET = {"embedding_size": 8, "hidden_sizes": [16, 32, 48, 64], "depths": [2, 2, 2, 2], "num_labels": 10}
_CONVNEXT = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1], "image_size": 64, "num_labels": 10}

ARCHITECTURES = (
    _text("BERT masked LM", "BertForMaskedLM", "bert", _ENCODER),
    _text("BERT masked LM, mask", "BertForMaskedLM", "bert", _ENCODER, **_MASK),
    _text("BERT classification", "BertForSequenceClassification", "bert", _ENCODER),
    _text("BERT classification, mask", "BertForSequenceClassification", "bert", _ENCODER, **_MASK),
    _text("RoBERTa", "RobertaForMaskedLM", "roberta", _ENCODER),
    _text(
        "DistilBERT",
        "DistilBertForMaskedLM",
        "distilbert",
        {"dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 64, "vocab_size": 128, "max_position_embeddings": 64},
    ),
    _text(
        "GPT-2",
        "GPT2LMHeadModel",
        "gpt2",
        {"n_embd": 32, "n_layer": 4, "n_head": 4, "vocab_size": 128, "n_positions": 64},
    ),
    _text("Llama", "LlamaForCausalLM", "llama", _DECODER),
    _text("Mistral", "MistralForCausalLM", "mistral", {**_DECODER, "sliding_window": 8}),
    _text("Mixtral", "MixtralForCausalLM", "mixtral", {**_DECODER, "num_local_experts": 4, "num_experts_per_tok": 2}),
    _text("T5", "T5ForConditionalGeneration", "t5", _T5),
    _text("BART", "BartForConditionalGeneration", "bart", _BART),
    Architecture("ViT", "ViTForImageClassification", "vit", {**_TOWER, "image_size": 32, "patch_size": 8}),
    Architecture("Swin", "SwinForImageClassification", "swin", _SWIN),
    Architecture(
        "ResNet",
        "ResNetForImageClassification",
        "resnet",
        _RESNET,
        options={"inputs": ("pixel_values=1x3x64x64:float32",)},
    ),
    Architecture("ConvNeXt", "ConvNextForImageClassification", "convnext", _CONVNEXT),
    Architecture("SegFormer", "SegformerForSemanticSegmentation", "segformer", _SEGFORMER),
    _text("CLIP", "CLIPModel", "clip", _CLIP),
    _text("Whisper", "WhisperForConditionalGeneration", "whisper", _WHISPER),
    Architecture(
        "Wav2Vec2",
        "Wav2Vec2ForCTC",
        "wav2vec2",
        _WAV2VEC2,
        options={"inputs": ("input_values=1x4000:float32",)},
    ),
    Architecture("timm EfficientNet-B0", source="timm:efficientnet_b0", options={"inputs": ("x=1x3x64x64",)}),
    Architecture("timm MobileNetV3", source="timm:mobilenetv3_small_100", options={"inputs": ("x=1x3x64x64",)}),
)
"""In the order of the table; :func:`modules` adds the hand-written ones."""


def modules() -> tuple[Architecture, ...]:
    """Hand-written modules with one awkward structure each, as the tests cut them at every operation."""
    try:
        from tests import awkward_models
    except ImportError:
        return ()
    return tuple(
        Architecture(name.replace("_", " "), source=f"py:tests.awkward_models:{name}")
        for name, made in vars(awkward_models).items()
        if getattr(made, "__module__", "") == awkward_models.__name__
        and getattr(made, "__annotations__", {}).get("return") == "Made"
    )
