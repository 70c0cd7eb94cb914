"""Models of the benchmark that have several inputs, or several outputs of very different sizes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_WIDTH = 256


class Small(nn.Module):
    """Two inputs and two outputs of a quarter of a megabyte each; microseconds of work on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(_WIDTH, _WIDTH) for _ in range(4))

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = left
        for layer in self.layers:
            hidden = torch.relu(layer(hidden)) + right
        return hidden, hidden - left


class Tokens(nn.Module):
    """A language model's logits and, beside them, the token that each position says."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.model(input_ids).logits
        return {"logits": logits, "tokens": logits.argmax(-1)}


def small() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """The small module and its inputs."""
    torch.manual_seed(0)
    return Small().eval(), (torch.rand(_WIDTH, _WIDTH), torch.rand(_WIDTH, _WIDTH))


def bert_base() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """BERT-base of the built-in sizes, batch 1, sequence 128."""
    return _bert(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072)


def bert_mini() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """The same with four layers of 256."""
    return _bert(hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024)


def _bert(**sizes: Any) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(vocab_size=21128, **sizes))
    return Tokens(model).eval(), (torch.randint(0, 21128, (1, 128)),)


class Doubled(nn.Module):
    """Twice the sum of two inputs, after work that changes nothing: a wrong item is seen in every number."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64, bias=False) for _ in range(4))
        for layer in self.layers:
            nn.init.eye_(layer.weight)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        hidden = left + right
        for layer in self.layers:
            hidden = layer(hidden)
        return 2.0 * hidden


def doubled() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """The module and its inputs of one row."""
    return Doubled().eval(), (torch.rand(1, 64), torch.rand(1, 64))
