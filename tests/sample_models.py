"""Small modules with one awkward structure each; ranks build them as ``py:tests.sample_models:NAME``."""

from __future__ import annotations

import torch
from torch import nn


class Skips(nn.Module):
    """A value used far later, an input used late, a tied weight, outputs from the first and last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.middle = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.last = nn.Linear(8, 8)
        self.last.weight = self.first.weight

    def forward(self, x: torch.Tensor, late: torch.Tensor) -> dict[str, torch.Tensor]:
        early = torch.relu(self.first(x))
        hidden = early
        for layer in self.middle:
            hidden = torch.tanh(layer(hidden))
        left, right = torch.split(hidden.transpose(0, 1), 4)
        joined = torch.cat([left, right]).transpose(0, 1)
        return {"early": early, "result": self.last(joined + early) + late}


class WritesInPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.layer(x)
        hidden.add_(1).relu_()
        return hidden * 2


class KeepsCount(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count.add_(1)
        return x + self.count


class Branches(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1 if x.sum() > 0 else x - 1


def skips() -> tuple[nn.Module, tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    return Skips(), (torch.randn(3, 8),), {"late": torch.randn(3, 8)}


def writes_in_place() -> tuple[nn.Module, tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    return WritesInPlace(), (torch.randn(2, 4),), {}


def keeps_count() -> tuple[nn.Module, tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    return KeepsCount(), (torch.randn(2, 4),), {}


def branches() -> tuple[nn.Module, tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    return Branches(), (torch.randn(2, 4),), {}


def stack() -> tuple[nn.Module, tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """Plain layers one after the other: what every way to split can run."""
    return nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(4))), (torch.randn(2, 8),), {}


class BranchingLayers(nn.Module):
    """Two layers with a Python branch on data between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x)
        return self.second(torch.relu(hidden) if hidden.sum() > 0 else hidden)


def branching_layers() -> tuple[nn.Module, tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    return BranchingLayers(), (torch.randn(2, 4),), {}


class Centred(nn.Module):
    """Takes from each sample what all samples of its batch are on average, where ``shares`` says so."""

    def __init__(self, *, shares: bool) -> None:
        super().__init__()
        self.first, self.second, self.shares = nn.Linear(4, 16), nn.Linear(16, 3), shares

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.first(x))
        if self.shares:
            hidden = hidden - hidden.mean(0)
        result: torch.Tensor = self.second(hidden)
        return result


def apart() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """Samples that have nothing to do with each other, six of them at most."""
    torch.manual_seed(0)
    return Centred(shares=False), (torch.rand(6, 4),)


def centred() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """Samples that share the mean of their batch."""
    torch.manual_seed(0)
    return Centred(shares=True), (torch.rand(6, 4),)
