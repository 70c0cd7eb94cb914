"""A decoder as a step over its cache, of a spec whose options say that it is to write text.

generate.max_length   most tokens of a sequence, prompt and new ones
generate.sequences    sequences whose keys and values the cache holds
generate.rows         sequences that a step takes: those of one lane
generate.tokens       tokens that it takes of each: 1, or as many as a chunk of a prompt has
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import nn

from partkit.data.generate import GENERATE_OPTION, StepShape, shape_of
from partkit.data.model import InputSpec, ModelSpec
from partkit.errors import UnsupportedError, UsageError
from partkit.models.decoding.attention import NAME
from partkit.models.decoding.state import CACHE
from partkit.models.sources.loaded import LoadedModel
from partkit.models.weights import WeightSource

_MODEL = "model."


def plain_spec(spec: ModelSpec) -> ModelSpec:
    """The model as its source knows it: without what makes a step of it."""
    options = {name: value for name, value in spec.options.items() if not name.startswith(GENERATE_OPTION)}
    return spec.model_copy(update={"options": options, "inputs": (), "structure_sha256": None})


def as_step(loaded: LoadedModel, spec: ModelSpec) -> LoadedModel:
    """The loaded model as a decode step in the shape that ``spec`` asks for.

    Raises :class:`UnsupportedError` for a model that is no decoder with a cache, or one of a kind that the step does
    not keep to, and :class:`UsageError` for sequences longer than its positions.
    """
    shape, module = shape_of(spec), loaded.module
    assert shape is not None
    head = _require_decoder(spec, module)
    assert module is not None
    config = cast("Any", module).config
    _require_positions(spec, config.get_text_config(), shape)
    from partkit.models.decoding.step import DecodeStep  # transformers is imported by now, as the source wants it

    config._attn_implementation = NAME
    step = DecodeStep(module, sequences=shape.sequences, max_length=shape.max_length, vocabulary_head=head).eval()
    inputs = step_inputs(shape, vocabulary=config.get_text_config().vocab_size)
    examples = {each.name: _example(each) for each in inputs}
    return replace(
        loaded,
        spec=spec.model_copy(update={"inputs": inputs}),
        module=step,
        args=(),
        kwargs=examples,
        weights=_StepWeights(loaded.weights, dict(step.named_parameters())),
        make_anew=None,
    )


def step_inputs(shape: StepShape, *, vocabulary: int) -> tuple[InputSpec, ...]:
    """What a step takes; see :mod:`partkit.models.decoding.step`."""
    sizes = (shape.rows, shape.tokens)
    return (
        InputSpec(name="tokens", shape=sizes, dtype="int64", range=(0, vocabulary)),
        InputSpec(name="positions", shape=sizes, dtype="int64", range=(shape.max_length // 2, shape.max_length)),
        InputSpec(name="last", shape=sizes[:1], dtype="int64", range=(shape.tokens - 1, shape.tokens)),
    )


def _example(spec: InputSpec) -> torch.Tensor:
    assert spec.range is not None
    return torch.full(spec.shape, int(spec.range[0]), dtype=torch.int64)


@dataclass(frozen=True)
class _StepWeights:
    """The model's weights under the step's names, and an empty cache."""

    weights: WeightSource
    parameters: Mapping[str, nn.Parameter]

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """See :class:`WeightSource`; a cache has whatever shape it was made in."""
        self.weights.check(
            {name.removeprefix(_MODEL): shape for name, shape in shapes.items() if not name.startswith(CACHE)}
        )

    def read(self, name: str) -> torch.Tensor:
        """See :class:`WeightSource`; of a cache: zeros."""
        if name.startswith(CACHE):
            like = self.parameters[name]
            return torch.zeros(like.shape, dtype=like.dtype)
        return self.weights.read(name.removeprefix(_MODEL))


def _require_decoder(spec: ModelSpec, module: nn.Module | None) -> nn.Module:
    """The head that makes logits; raises where the model cannot be a step."""
    config = getattr(module, "config", None)
    if module is None or not hasattr(config, "get_text_config"):
        raise UnsupportedError(f"{spec.source} is no transformers model, and only those write text yet")
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedError(
            f"{spec.source} is an encoder and a decoder, and generation is for decoders alone yet",
            hint="plan it without --generate: encoder and decoder then run as one model",
        )
    head = cast("Any", module).get_output_embeddings()
    if head is None or not hasattr(module, "generate"):
        raise UnsupportedError(
            f"{type(module).__name__} of {spec.source} has no head that makes logits of tokens",
            hint="add --task causal-lm",
        )
    accepted = inspect.signature(module.forward).parameters
    lacking = [
        name for name in ("input_ids", "position_ids", "past_key_values", "attention_mask") if name not in accepted
    ]
    if lacking:
        raise UnsupportedError(
            f"{type(module).__name__} of {spec.source} takes no {lacking[0]}, so that rows of unequal length "
            "cannot share a step"
        )
    if spec.compiled:
        raise UnsupportedError(f"{spec.source}: a step that writes its cache does not go through torch.compile yet")
    return cast("nn.Module", head)


def _require_positions(spec: ModelSpec, config: Any, shape: StepShape) -> None:
    most = getattr(config, "max_position_embeddings", None)
    if most is not None and shape.max_length > most:
        raise UsageError(
            f"{spec.source} has {most} positions, and --max-length is {shape.max_length}",
            hint=f"use --max-length {most} or less",
        )
