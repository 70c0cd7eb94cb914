"""What a transformers model is fed when nobody says: read from its config and from what its ``forward`` takes."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from partkit.data.model import InputSpec, ModelSpec
from partkit.errors import UsageError
from partkit.models.sources.base import input_overrides, whole_option
from partkit.models.sources.default_inputs import (
    DEFAULT_SEQ,
    image_inputs,
    mark_dynamic,
    override_inputs,
    text_inputs,
    within_own_ranges,
)

_AUDIO_SAMPLES = 16_000
"""One second at the rate that wav2vec-like models are trained on."""
_TOKENS = ("input_ids", "decoder_input_ids")


def resolve_inputs(spec: ModelSpec, module: nn.Module, config: Any) -> tuple[InputSpec, ...]:
    """The spec's inputs if it has them, else the model's defaults with the spec's options applied.

    Raises :class:`UsageError` when the inputs can't be guessed and ``--input`` doesn't give them, and when a
    sequence is longer than the position embeddings.
    """
    overrides = input_overrides(spec)
    defaults = _defaults(spec, module, config)
    if spec.inputs:
        return within_own_ranges(spec.inputs, defaults)
    if not defaults and not overrides:
        raise UsageError(
            f"the inputs of {type(module).__name__} can't be guessed from its config",
            hint="give each with --input name=1x128:int64",
        )
    inputs = override_inputs(defaults, overrides, dtype=spec.dtype)
    _check_positions(spec, module, config, inputs)
    return mark_dynamic(spec, inputs, _TOKENS)


def _defaults(spec: ModelSpec, module: nn.Module, config: Any) -> tuple[InputSpec, ...]:
    accepted = inspect.signature(module.forward).parameters
    main = getattr(module, "main_input_name", "input_ids")
    batch = whole_option(spec, "batch", 1)
    if main == "input_ids":
        found = _tokens(spec, module, config, ("input_ids", *_decoder_names(config)))
        # Only the two-tower models (CLIP and its kin) always need both a text and an image.
        return found + _image(config, batch, spec.dtype) if "return_loss" in accepted else found
    if main == "pixel_values":
        _refuse_seq(spec, module)
        return _image(config, batch, spec.dtype)
    if main == "input_features" and hasattr(config, "num_mel_bins"):
        shape = (batch, config.num_mel_bins, 2 * getattr(config, "max_source_positions", 1500))
        features = InputSpec(name=main, shape=shape, dtype=spec.dtype)
        return (features, *_tokens(spec, module, config, _decoder_names(config)))
    if main == "input_values":
        _refuse_seq(spec, module)
        return (InputSpec(name=main, shape=(batch, _AUDIO_SAMPLES), dtype=spec.dtype),)
    return ()


def _decoder_names(config: Any) -> tuple[str, ...]:
    return ("decoder_input_ids",) if getattr(config, "is_encoder_decoder", False) else ()


def _tokens(spec: ModelSpec, module: nn.Module, config: Any, names: tuple[str, ...]) -> tuple[InputSpec, ...]:
    text = config.get_text_config()
    vocab = getattr(text, "vocab_size", None)
    if not names or not isinstance(vocab, int):
        return ()
    seq = whole_option(spec, "seq", min(DEFAULT_SEQ, _positions(module, config) or DEFAULT_SEQ))
    return text_inputs(names, batch=whole_option(spec, "batch", 1), seq=seq, vocab=vocab)


def _image(config: Any, batch: int, dtype: str) -> tuple[InputSpec, ...]:
    vision = getattr(config, "vision_config", config)
    size = getattr(vision, "image_size", 224)
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    channels = getattr(vision, "num_channels", 3)
    return image_inputs("pixel_values", batch=batch, channels=channels, height=height, width=width, dtype=dtype)


def _refuse_seq(spec: ModelSpec, module: nn.Module) -> None:
    if "seq" in spec.options:
        raise UsageError(
            f"{type(module).__name__} reads no tokens, so --seq has no meaning here", hint="use --input name=SHAPE"
        )


def _positions(module: nn.Module, config: Any) -> int | None:
    """The length of a text model's table of learned positions; None where positions are computed."""
    text = config.get_text_config()
    if any(hasattr(text, name) for name in ("rope_parameters", "rope_theta", "relative_attention_num_buckets")):
        return None
    for name, part in module.named_modules():
        # RoBERTa and its kin number positions from padding_idx + 1 on.
        if name.endswith("position_embeddings") and isinstance(part, nn.Embedding) and part.padding_idx is not None:
            return part.num_embeddings - part.padding_idx - 1
    positions = getattr(text, "max_target_positions", None) or getattr(text, "max_position_embeddings", None)
    return positions if isinstance(positions, int) else None


def _check_positions(spec: ModelSpec, module: nn.Module, config: Any, inputs: tuple[InputSpec, ...]) -> None:
    longest = max((item.shape[-1] for item in inputs if item.name in _TOKENS), default=0)
    positions = _positions(module, config)
    if positions is not None and longest > positions:
        raise UsageError(
            f"{spec.source} has {positions} positions, and the sequence asked for is {longest} long",
            hint=f"use --seq {positions} or less",
        )
