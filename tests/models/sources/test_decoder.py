"""Which models can be a step of a decoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from partkit.data.generate import Generate, with_shape
from partkit.errors import PartkitError
from partkit.models.capture import capture, view_base
from partkit.models.decoding.state import CACHE, extend
from partkit.models.sources import load_model, parse_model
from partkit.profilers.analytic import kernels_by_node

T5 = {
    "model_type": "t5",
    "architectures": ["T5ForConditionalGeneration"],
    "d_model": 16,
    "num_layers": 1,
    "num_heads": 2,
}
WHISPER = {
    "model_type": "whisper",
    "architectures": ["WhisperForConditionalGeneration"],
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
}
BASE = {
    "model_type": "gpt2",
    "architectures": ["GPT2Model"],
    "n_embd": 16,
    "n_layer": 1,
    "n_head": 2,
    "n_positions": 32,
}
BLOOM = {"model_type": "bloom", "architectures": ["BloomForCausalLM"], "hidden_size": 16, "n_layer": 1, "n_head": 2}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (T5, "is an encoder and a decoder, and generation is for decoders alone yet"),
        (WHISPER, "is an encoder and a decoder"),
        (BASE, "has no head that makes logits of tokens"),
        ({**BASE, "architectures": ["GPT2LMHeadModel"]}, "has 32 positions, and --max-length is 64"),
        (BLOOM, "takes no position_ids, so that rows of unequal length cannot share a step"),
    ],
    ids=["t5", "whisper", "base", "positions", "bloom"],
)
def test_a_model_that_cannot_write_is_refused_with_the_reason(
    config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    spec = with_shape(parse_model(f"hf:{tmp_path}"), Generate(max_length=64, sequences=1).step(1))
    with pytest.raises(PartkitError, match=message):
        load_model(spec)


@pytest.mark.parametrize("source", ["bert-tiny", "resnet50", "py:tests.sample_models:skips"])
def test_a_model_that_is_no_decoder_is_refused(source: str) -> None:
    spec = with_shape(parse_model(source), Generate(max_length=64, sequences=1).step(1))
    with pytest.raises(PartkitError, match=r"logits of tokens|takes no|no transformers model"):
        load_model(spec)


def test_a_cache_is_memory_once_and_is_written_and_not_copied() -> None:
    """Its operation gives all of it, and costs what is new."""
    generate = Generate(max_length=1000, sequences=4)
    captured = capture(load_model(with_shape(parse_model("llama-tiny"), generate.step(1))))
    keys = next(node for node in captured.graph.nodes if node.target is extend)
    assert tuple(keys.meta["val"].shape) == (4, 2, 1008, 64)
    assert view_base(keys) is keys.args[1]
    (kernel,) = kernels_by_node(captured)[keys.name]
    assert kernel.moved_bytes == 2 * 4 * 2 * 64 * 4
    cached = {name: info.num_bytes for name, info in captured.tensors.items() if name.startswith(CACHE)}
    assert cached == {
        f"cache.{kind}_{layer}": 4 * 2 * 1008 * 64 * 4 for kind in ("keys", "values") for layer in range(4)
    }
