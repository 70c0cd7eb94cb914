"""A Llama-like checkpoint of a wanted size, written shard by shard: no more than one shard is ever held."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from partkit.models.weights import seeded_tensor

SHARD_BYTES = 500_000_000


def write_checkpoint(folder: Path, *, gigabytes: float, hidden: int = 2048) -> int:
    """Write config.json, shards and index unless they are there; returns the bytes of all parameters.

    The weights are those that partkit's seeded source would give the same model with seed 1.
    """
    config = llama_config(gigabytes, hidden)
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}
    total = sum(4 * tensor.numel() for tensor in model.parameters())
    index = folder / "model.safetensors.index.json"
    if index.exists() and json.loads(index.read_text())["metadata"]["total_size"] == total:
        return total
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder)
    text = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**text, "architectures": ["LlamaForCausalLM"]}, indent=2))
    shards = list(_shards(shapes))
    file_by_key: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file({name: seeded_tensor(1, name, shapes[name]) for name in names}, folder / file)
        file_by_key |= dict.fromkeys(names, file)
    index.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": file_by_key}, indent=2))
    return total


def llama_config(gigabytes: float, hidden: int) -> LlamaConfig:
    """A Llama of the given width, with as many layers as make the fp32 parameters just over ``gigabytes`` (1e9)."""
    inner, vocab = hidden * 11 // 4, 32000
    layer_bytes = 4 * (4 * hidden**2 + 3 * hidden * inner + 2 * hidden)
    rest_bytes = 4 * (2 * vocab * hidden + hidden)
    num_layers = -(-int(gigabytes * 1e9 - rest_bytes) // layer_bytes)
    return LlamaConfig(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=num_layers,
        num_attention_heads=hidden // 128,
        num_key_value_heads=hidden // 128,
        vocab_size=vocab,
        tie_word_embeddings=False,
        use_cache=False,
    )


def _shards(shapes: dict[str, tuple[int, ...]]) -> Iterator[list[str]]:
    """The names in order, in groups of at most :data:`SHARD_BYTES` (a larger tensor has a shard of its own)."""
    names: list[str] = []
    held = 0
    for name, shape in shapes.items():
        size = 4 * torch.Size(shape).numel()
        if names and held + size > SHARD_BYTES:
            yield names
            names, held = [], 0
        names.append(name)
        held += size
    yield names
