"""Models whose configs are part of partkit: nothing is downloaded, the weights are seeded; no torch until load."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from partkit.data.model import InputSpec, ModelSpec
from partkit.errors import UsageError
from partkit.models.sources.base import ModelInfo, input_overrides, whole_option
from partkit.models.sources.default_inputs import (
    DEFAULT_SEQ,
    image_inputs,
    mark_dynamic,
    override_inputs,
    text_inputs,
    within_own_ranges,
)

if TYPE_CHECKING:
    from partkit.models.sources.loaded import LoadedModel

Setting = str | int | float | bool | None


@dataclass(frozen=True)
class Preset:
    """A transformers class, the settings that differ from its config's defaults, and what it is fed."""

    description: str
    architecture: str
    model_type: str
    settings: Mapping[str, Setting]
    parameters: int
    tokens: tuple[str, ...] = ()
    """Names of the token inputs; empty for image models."""
    vocab: int = 0
    max_seq: int | None = None
    """Longest sequence that has a position embedding; None: no limit."""
    image: int = 224


def _bert(description: str, parameters: int, *, size: tuple[int, int, int], vocab: int = 21128) -> Preset:
    hidden, layers, heads = size
    settings: dict[str, Setting] = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden,
        "hidden_act": "gelu",
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "vocab_size": vocab,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }
    return Preset(
        description, "BertForMaskedLM", "bert", settings, parameters, ("input_ids",), vocab=vocab, max_seq=512
    )


def _llama(description: str, parameters: int, settings: Mapping[str, Setting], vocab: int) -> Preset:
    all_settings = {"vocab_size": vocab, "use_cache": False, "tie_word_embeddings": False, **settings}
    return Preset(
        description, "LlamaForCausalLM", "llama", all_settings, parameters, tokens=("input_ids",), vocab=vocab
    )


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "bert": _bert("BERT base, masked language model", 102_290_312, size=(768, 12, 12)),
        "bert-tiny": _bert("BERT of 2 layers, hidden 128, for tests", 3_204_872, size=(128, 2, 2)),
        "bert-mini": _bert("BERT of 4 layers, hidden 256, for tests", 8_787_336, size=(256, 4, 4)),
        "bert-large": _bert("BERT large, masked language model", 335_174_458, size=(1024, 24, 16), vocab=30522),
        "gpt2": Preset(
            "GPT-2 small, causal language model",
            "GPT2LMHeadModel",
            "gpt2",
            {"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12, "use_cache": False},
            124_439_808,
            tokens=("input_ids",),
            vocab=50257,
            max_seq=1024,
        ),
        "vit": Preset(
            "ViT base, patch 16, image classification",
            "ViTForImageClassification",
            "vit",
            {
                "hidden_size": 768,
                "num_hidden_layers": 12,
                "num_attention_heads": 12,
                "intermediate_size": 3072,
                "image_size": 224,
                "patch_size": 16,
                "num_channels": 3,
                "num_labels": 1000,
            },
            86_567_656,
        ),
        "t5-small": Preset(
            "T5 small, encoder and decoder",
            "T5ForConditionalGeneration",
            "t5",
            {
                "vocab_size": 32128,
                "d_model": 512,
                "d_kv": 64,
                "d_ff": 2048,
                "num_layers": 6,
                "num_decoder_layers": 6,
                "num_heads": 8,
                "use_cache": False,
                "decoder_start_token_id": 0,
            },
            60_506_624,
            tokens=("input_ids", "decoder_input_ids"),
            vocab=32128,
        ),
        "llama-tiny": _llama(
            "Llama of 4 layers, hidden 256, grouped-query attention, for tests",
            4_999_424,
            {
                "hidden_size": 256,
                "num_hidden_layers": 4,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "intermediate_size": 688,
                "max_position_embeddings": 2048,
            },
            4096,
        ),
        "llama-7b": _llama(
            "Llama of 32 layers, hidden 4096: the shape of Llama 2 7B, seeded weights",
            6_738_415_616,
            {
                "hidden_size": 4096,
                "num_hidden_layers": 32,
                "num_attention_heads": 32,
                "num_key_value_heads": 32,
                "intermediate_size": 11008,
                "max_position_embeddings": 4096,
            },
            32000,
        ),
        "resnet50": Preset(
            "ResNet-50, image classification",
            "ResNetForImageClassification",
            "resnet",
            {"num_labels": 1000, "layer_type": "bottleneck", "embedding_size": 64},
            25_557_032,
        ),
    }
)


class PresetSource:
    """``bert``, ``gpt2`` and the other names of ``partkit models``."""

    def check(self, spec: ModelSpec) -> ModelSpec:
        """Resolve the name and the inputs; raises :class:`UsageError` for an unknown name, ``--seq`` or ``--task``."""
        preset = _find(spec.source)
        if spec.task is not None:
            raise UsageError(
                f"{spec.source} is always {preset.architecture}, so --task {spec.task} has no meaning here",
                hint="leave --task out, or use hf:DIR",
            )
        own = _inputs(spec, preset)
        return spec.model_copy(update={"inputs": within_own_ranges(spec.inputs, own) if spec.inputs else own})

    def load(self, spec: ModelSpec) -> LoadedModel:
        """Build the transformers class with seeded weights. Raises :class:`UsageError` for an unknown name."""
        from partkit.models.sources.transformers_model import load_config, load_seeded

        preset = _find(spec.source)
        return load_seeded(self.check(spec), load_config(preset.model_type, preset.settings), preset.architecture)


def preset_infos() -> tuple[ModelInfo, ...]:
    """Every preset's line for ``partkit models``."""
    return tuple(
        ModelInfo(name, preset.description, preset.parameters, _inputs(ModelSpec(source=name), preset))
        for name, preset in PRESETS.items()
    )


def _find(name: str) -> Preset:
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(name, PRESETS, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(PRESETS)}"
    raise UsageError(f"there is no model {name!r}", hint=f"{hint} 'partkit models' lists all; a folder is hf:DIR")


def _inputs(spec: ModelSpec, preset: Preset) -> tuple[InputSpec, ...]:
    batch = whole_option(spec, "batch", 1)
    if preset.tokens:
        seq = whole_option(spec, "seq", DEFAULT_SEQ)
        defaults = text_inputs(preset.tokens, batch=batch, seq=seq, vocab=preset.vocab)
    elif "seq" in spec.options:
        raise UsageError(f"{spec.source} reads images, so --seq has no meaning here", hint="leave --seq out")
    else:
        side = preset.image
        defaults = image_inputs("pixel_values", batch=batch, channels=3, height=side, width=side, dtype=spec.dtype)
    inputs = override_inputs(defaults, input_overrides(spec), dtype=spec.dtype)
    longest = max((item.shape[-1] for item in inputs if item.name in preset.tokens), default=0)
    if preset.max_seq is not None and longest > preset.max_seq:
        raise UsageError(
            f"{spec.source} has {preset.max_seq} positions, and the sequence asked for is {longest} long",
            hint=f"use --seq {preset.max_seq} or less",
        )
    return mark_dynamic(spec, inputs, preset.tokens)
