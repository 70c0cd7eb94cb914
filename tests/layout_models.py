"""Modules that are right in whatever memory order kernels give their results, and whose capture need not be."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from tests.awkward_models import Function, Made, matrix

_LIBRARY = torch.library.Library("partkit_tests", "FRAGMENT")
_LIBRARY.define("running_sum(Tensor x) -> Tensor")


@torch.library.impl(_LIBRARY, "running_sum", "CompositeExplicitAutograd")
def _running_sum(x: torch.Tensor) -> torch.Tensor:
    """As a kernel that reads memory from its beginning does: right for a contiguous operand only."""
    return torch.as_strided(x, (x.numel(),), (1,)).cumsum(0).view(x.shape)


@torch.library.impl(_LIBRARY, "running_sum", "Meta")
def _running_sum_shape(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


_LIBRARY.define("scaled_by_its_largest(Tensor x) -> Tensor")


@torch.library.impl(_LIBRARY, "scaled_by_its_largest", "CompositeExplicitAutograd")
def _scaled(x: torch.Tensor) -> torch.Tensor:
    """Asks the device for a number on its way."""
    return x / x.abs().max().item()


@torch.library.impl(_LIBRARY, "scaled_by_its_largest", "Meta")
def _scaled_shape(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


def kernel_that_waits() -> Made:
    """No CUDA graph can hold the middle."""

    def body(layer, x):
        hidden = layer(x)
        return layer(torch.ops.partkit_tests.scaled_by_its_largest(hidden)) + layer(hidden)

    return Function(body), (matrix(),), {}


def transformer_layer() -> Made:
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (torch.randn(2, 4, 8),), {}


def sequence_to_sequence() -> Made:
    net = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
    return net, (torch.randn(2, 4, 8), torch.randn(2, 3, 8)), {}


class AttentionNet(nn.Module):
    """A convolution net with attention over its places, as in a U-Net's middle."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.Conv2d(8, 4, 3)
        self.project = nn.Linear(8, 24)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hidden = F.silu(self.norm(self.first(image)))
        n, channels, height, width = hidden.shape
        places = hidden.view(n, channels, height * width).transpose(1, 2)
        query, key, value = (
            part.view(n, -1, 2, channels // 2).transpose(1, 2) for part in self.project(places).chunk(3, dim=-1)
        )
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).contiguous()
        seen = seen.view(n, height * width, channels).transpose(1, 2).contiguous()
        joined = self.norm(hidden + seen.view(n, channels, height, width))
        return self.last(F.interpolate(joined, scale_factor=2.0))


def attention_in_a_convolution_net() -> Made:
    return AttentionNet(), (torch.randn(2, 3, 6, 6),), {}


def views_of_every_kind() -> Made:
    """Each view follows a result that is contiguous at capture."""

    def body(layer, x):
        hidden = layer(x)
        bits = torch.relu(hidden).contiguous().view(torch.int32).view(torch.uint8)
        pairs = torch.view_as_complex(torch.tanh(hidden).contiguous().view(4, 3, 2))
        like = torch.sigmoid(hidden).view_as(torch.empty(3, 8))
        split = torch.exp(hidden).unflatten(1, (2, 3)).flatten(0, 1)
        return bits, torch.view_as_real(pairs * 1j), like, split.ravel().view(2, -1)

    return Function(body), (matrix(),), {}


def windows_on_results() -> Made:
    """Windows on memory that a kernel has just filled, with and without an offset, through views and twice."""

    def body(layer, x):
        hidden = torch.relu(layer(x))
        middle = hidden.t()[1:3].as_strided((2, 3), (6, 1))
        overlap = (hidden + 1).as_strided((4, 2, 3), (6, 2, 1), 1)
        turned = (layer(x).t() * 2).as_strided((3, 4), (1, 6))
        return middle, overlap.sum(1), turned

    return Function(body), (matrix(),), {}


def window_on_an_input() -> Made:
    def body(layer, first, x):
        return layer(first), x.as_strided((2, 3), (6, 2), 1) * 2

    return Function(body), (matrix(), matrix()), {}


def own_kernel() -> Made:
    """The author's operation wants contiguous operands, and they are so at capture without being made so."""

    def body(layer, x):
        hidden = layer(x).contiguous()
        twice = torch.ops.partkit_tests.running_sum(hidden * 2)
        turned = torch.ops.partkit_tests.running_sum((hidden.t() + 1).t().contiguous())
        return twice + torch.ops.partkit_tests.running_sum(layer.weight[:4]), turned

    return Function(body), (matrix(),), {}


def views_in_a_branch() -> Made:
    def body(layer, x):
        hidden = layer(x)

        def seldom(value):
            return torch.relu(value).view(2, 12).sum(1)

        def often(value):
            return torch.tanh(value.view(2, 12)).view(24)[:2]

        return torch.cond(x.sum() > 1e3, seldom, often, (hidden,))

    return Function(body), (matrix(),), {}


ALL: tuple[Callable[[], Made], ...] = (
    transformer_layer,
    sequence_to_sequence,
    attention_in_a_convolution_net,
    views_of_every_kind,
    windows_on_results,
    window_on_an_input,
    own_kernel,
    kernel_that_waits,
    views_in_a_branch,
)
