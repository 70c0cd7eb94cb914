"""Decoders that write text in tests: tiny folders, plans of steps cut evenly, and what transformers itself writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.generate import Generate, Prompt, with_shape
from partkit.data.plan import Plan, Stage
from partkit.models.capture import capture
from partkit.models.sources import load_model, parse_model
from tests.planned import even_cut

_SIZES = {
    "vocab_size": 256,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 96,
}
_WINDOW = {"head_dim": 8, "sliding_window": 5}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", _SIZES),
    "mistral": ("MistralForCausalLM", {**_SIZES, "sliding_window": 5}),
    "qwen2": ("Qwen2ForCausalLM", _SIZES),
    "qwen3": ("Qwen3ForCausalLM", {**_SIZES, "head_dim": 8}),
    "gemma2": ("Gemma2ForCausalLM", {**_SIZES, **_WINDOW}),
    "gemma3_text": (
        "Gemma3ForCausalLM",
        {**_SIZES, **_WINDOW, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "gpt2": ("GPT2LMHeadModel", {"vocab_size": 256, "n_positions": 96, "n_embd": 32, "n_layer": 2, "n_head": 4}),
    "opt": (
        "OPTForCausalLM",
        {
            **{name: _SIZES[name] for name in ("vocab_size", "hidden_size", "num_hidden_layers")},
            "num_attention_heads": 4,
            "ffn_dim": 64,
            "max_position_embeddings": 96,
            "word_embed_proj_dim": 32,
        },
    ),
}


def save_tiny(folder: Path, model_type: str) -> str:
    """A checkpoint of a few thousand weights, spread so that what it writes varies; its name as a source."""
    architecture, settings = CONFIGS[model_type]
    ends = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    config = transformers.AutoConfig.for_model(model_type, **settings, **ends, tie_word_embeddings=False)
    torch.manual_seed(0)
    model = getattr(transformers, architecture)._from_config(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder / model_type)
    return f"hf:{folder / model_type}"


def step_plan(source: str, num_stages: int, generate: Generate) -> Plan:
    """A plan that writes text, with as many nodes in each stage."""
    captured = capture(load_model(with_shape(parse_model(source), generate.step(1))))
    stage_by_node = even_cut(captured, num_stages)
    stages = tuple(
        Stage(index=index, devices=(index,), nodes=tuple(n for n, stage in stage_by_node.items() if stage == index))
        for index in range(num_stages)
    )
    devices = tuple(Device(name=f"cpu{index}") for index in range(num_stages))
    cluster = Cluster(devices=devices, link=Link(bytes_per_s=1e9), overlap=False)
    return Plan(model=captured.spec, stages=stages, cluster=cluster, generate=generate)


def random_prompts(lengths: Sequence[int], new: Sequence[int], *, vocabulary: int) -> list[Prompt]:
    draw = torch.Generator().manual_seed(0)
    return [
        Prompt(tokens=tuple(torch.randint(3, vocabulary, (length,), generator=draw).tolist()), max_new_tokens=count)
        for length, count in zip(lengths, new, strict=True)
    ]


class Expected:
    """What ``model.generate`` writes, one prompt at a time."""

    def __init__(self, source: str) -> None:
        self._model: Any = load_model(parse_model(source)).materialise()
        self._model.config._attn_implementation = "eager"

    def after(self, prompt: Prompt, *, stops: Sequence[int] = ()) -> tuple[int, ...]:
        made = self._model.generate(
            torch.tensor([prompt.tokens]),
            max_new_tokens=prompt.max_new_tokens,
            do_sample=False,
            use_cache=True,
            eos_token_id=list(stops) or None,
            pad_token_id=0,
        )
        return tuple(made[0, len(prompt.tokens) :].tolist())

    def logits(self, tokens: Sequence[int]) -> torch.Tensor:
        """Of the token after these, [V]."""
        with torch.no_grad():
            logits: torch.Tensor = self._model(torch.tensor([tokens]), use_cache=False).logits[0, -1]
        return logits
