"""The model of these examples: a module as anyone may have one, of twelve layers."""

from __future__ import annotations

import torch
from torch import nn


class Net(nn.Module):
    """Twelve layers that each add to what they are given."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of ``x`` of shape (rows, width) a tensor of the same shape."""
        for layer in self.layers:
            x = torch.relu(layer(x)) + x
        return x


def make_net() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """The module with drawn weights, and the inputs of one call: what ``py:net:make_net`` asks for."""
    torch.manual_seed(0)
    return Net().eval(), (torch.randn(64, 256),)
