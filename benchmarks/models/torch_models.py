"""Modules of torch's own layers at real sizes, and a U-Net with attention as diffusion models have."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

Made = tuple[nn.Module, tuple[Any, ...]]


class Residual(nn.Module):
    """Two convolutions, each behind a group norm, around a skip."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.GroupNorm(32, inner), nn.GroupNorm(32, outer)])
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(inner, outer, 3, padding=1), nn.Conv2d(outer, outer, 3, padding=1)]
        )
        self.time = nn.Linear(512, outer)
        self.skip = nn.Conv2d(inner, outer, 1) if inner != outer else nn.Identity()

    def forward(self, image: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        hidden = self.convolutions[0](F.silu(self.norms[0](image)))
        hidden = hidden + self.time(F.silu(step))[:, :, None, None]
        return self.convolutions[1](F.silu(self.norms[1](hidden))) + self.skip(image)


class PlaceAttention(nn.Module):
    """Attention of all places of an image to each other."""

    def __init__(self, channels: int, heads: int = 8) -> None:
        super().__init__()
        self.norm, self.heads = nn.GroupNorm(32, channels), heads
        self.project, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        n, channels, height, width = image.shape
        places = self.norm(image).view(n, channels, height * width).transpose(1, 2)
        query, key, value = (
            part.view(n, -1, self.heads, channels // self.heads).transpose(1, 2)
            for part in self.project(places).chunk(3, dim=-1)
        )
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).contiguous()
        seen = self.out(seen.view(n, height * width, channels)).transpose(1, 2).contiguous()
        return image + seen.view(n, channels, height, width)


class UNet(nn.Module):
    """Down and up again with skips across, attention at the smaller sizes."""

    def __init__(self, widths: tuple[int, ...] = (192, 384, 576, 768)) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(4, widths[0], 3, padding=1), nn.Conv2d(widths[0], 4, 3, padding=1)
        self.time = nn.Sequential(nn.Linear(128, 512), nn.SiLU(), nn.Linear(512, 512))
        pairs = list(zip((widths[0], *widths), widths, strict=False))
        self.down = nn.ModuleList(Residual(inner, outer) for inner, outer in pairs)
        self.down_attention = nn.ModuleList(PlaceAttention(outer) for _, outer in pairs[1:])
        self.middle = PlaceAttention(widths[-1])
        self.up = nn.ModuleList(Residual(2 * outer, inner) for inner, outer in reversed(pairs))
        self.up_attention = nn.ModuleList(PlaceAttention(inner) for inner, _ in reversed(pairs[1:]))

    def forward(self, image: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        angles = time[:, None] * torch.exp(torch.arange(64, device=time.device) * -0.14)
        step = self.time(torch.cat([angles.sin(), angles.cos()], dim=1))
        hidden, kept = self.first(image), []
        for level, block in enumerate(self.down):
            hidden = block(hidden, step)
            if level:
                hidden = self.down_attention[level - 1](hidden)
            kept.append(hidden)
            hidden = F.avg_pool2d(hidden, 2) if level < len(self.down) - 1 else hidden
        hidden = self.middle(hidden)
        for level, block in enumerate(self.up):
            hidden = block(torch.cat([hidden, kept.pop()], dim=1), step)
            if level < len(self.up_attention):
                hidden = F.interpolate(self.up_attention[level](hidden), scale_factor=2.0)
        return self.last(F.silu(hidden))


def unet() -> Made:
    return UNet(), (torch.randn(1, 4, 64, 64), torch.rand(1) * 1000)


def encoder() -> Made:
    layer = nn.TransformerEncoderLayer(768, 12, 3072, batch_first=True)
    return nn.TransformerEncoder(layer, 12, enable_nested_tensor=False), (torch.randn(1, 128, 768),)


def sequence_to_sequence() -> Made:
    return nn.Transformer(512, 8, 6, 6, 2048, batch_first=True), (torch.randn(1, 128, 512), torch.randn(1, 64, 512))
