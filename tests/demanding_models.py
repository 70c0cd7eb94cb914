"""Models that demand of their inputs what drawn ones do not keep to; their examples do."""

from __future__ import annotations

import threading
import warnings

import torch
from torch import nn

_KEPT: list[nn.Module] = []

Made = tuple[nn.Module, tuple[torch.Tensor, ...]]


class Encoder(nn.Module):
    """Reads a mask of what is to be ignored, or of what is to be kept."""

    def __init__(self, *, takes_padding: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2)
        self.takes_padding = takes_padding

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        padding = mask if self.takes_padding else mask == 0
        return self.layers(x, src_key_padding_mask=padding)  # type: ignore[no-any-return]


def ignores_padding() -> Made:
    """A drawn mask ignores everything, and nothing is left to attend to."""
    mask = torch.tensor([[False, False, True], [False, True, True]])
    return Encoder(takes_padding=True), (torch.randn(2, 3, 8), mask)


def keeps_what_is_told() -> Made:
    """A drawn mask keeps everything; eager's fast path makes the padded places of the example 0."""
    return Encoder(takes_padding=False), (torch.randn(2, 3, 8), torch.tensor([[1, 1, 0], [1, 0, 0]]))


class Bags(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bags, self.last = nn.EmbeddingBag(10, 4), nn.Linear(4, 2)

    def forward(self, tokens: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        return self.last(self.bags(tokens, offsets))  # type: ignore[no-any-return]


def bags() -> Made:
    return Bags(), (torch.tensor([1, 2, 4, 5, 4, 3]), torch.tensor([0, 3]))


class Factors(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(3, 2)

    def forward(self, matrix: torch.Tensor) -> torch.Tensor:
        return self.last(torch.linalg.cholesky(matrix))  # type: ignore[no-any-return]


def factors() -> Made:
    root = torch.randn(3, 3)
    return Factors(), (root @ root.T + torch.eye(3),)


class Entropy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(1, 64)

    def forward(self, p: torch.Tensor) -> dict[str, torch.Tensor]:
        entropy = -(p * p.log()).sum(-1, keepdim=True)
        return {"entropy": entropy, "scores": self.last(entropy)}


def entropy() -> Made:
    return Entropy(), (torch.rand(1, 5).softmax(-1),)


class Likelihood(nn.Module):
    def forward(self, p: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.binary_cross_entropy(p, x, reduction="none").tanh()


def likelihood() -> Made:
    return Likelihood(), (torch.rand(2, 5), torch.rand(2, 5))


def kept() -> Made:
    """The same module at every call, and one that cannot be copied."""
    if not _KEPT:
        module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
        module.lock = threading.Lock()  # type: ignore[assignment]
        _KEPT.append(module)
    return _KEPT[0], (torch.randn(2, 4),)


def normed() -> Made:
    """A module whose weight is no parameter but derived, as torch.nn.utils.weight_norm of old leaves it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        first = nn.utils.weight_norm(nn.Linear(4, 4))  # type: ignore[no-untyped-call]
    return nn.Sequential(first, nn.Linear(4, 2)), (torch.randn(2, 4),)
