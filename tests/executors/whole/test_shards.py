"""Rivals that shard a model read its weights tensor by tensor: no rank holds more than its shards and one tensor."""

from __future__ import annotations

import torch
from torch import nn

from partkit.models.sources import load_model, parse_model


def test_a_built_model_has_its_parameters_on_meta_and_is_filled_by_name():
    loaded = load_model(parse_model("bert-tiny"))
    module, told = loaded.build(), list[str]()

    def place(name: str, parameter: nn.Parameter, tensor: torch.Tensor) -> torch.Tensor:
        assert parameter.is_meta
        told.append(name)
        return tensor

    assert all(parameter.is_meta for parameter in module.parameters())
    loaded.fill(module, place)
    assert sorted(told) == sorted(name for name, _ in module.named_parameters())
    whole = dict(loaded.materialise().named_parameters())
    assert all(torch.equal(parameter, whole[name]) for name, parameter in module.named_parameters())


def test_ties_stay_ties_when_a_model_is_filled():
    loaded = load_model(parse_model("bert-tiny"))
    module = loaded.build()
    loaded.fill(module, lambda _name, _parameter, tensor: tensor)
    assert module.get_output_embeddings().weight is module.get_input_embeddings().weight


def test_the_bytes_of_a_model_count_ties_once():
    loaded = load_model(parse_model("bert-tiny"))
    tensors = [*loaded.materialise().parameters(), *loaded.materialise().buffers()]
    assert loaded.weight_bytes == sum(tensor.numel() * tensor.element_size() for tensor in tensors)
