"""How the next token of each row is chosen: the likeliest, or drawn so that a seed draws the same again anywhere.

What is drawn depends on the seed, the sequence's number and the token's position alone, not on the rows beside it, the
lane, the device or how often the device was asked: each token of the vocabulary gets a number from a hash of those
(splitmix64), and the largest of logit / temperature plus Gumbel noise of that number wins, which draws by probability.
"""

from __future__ import annotations

import torch

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as int64, and so the two below
_FIRST, _SECOND = -4658895280553007687, -7723592293110705685
_BITS = 23  # and a half more is still exact in float32


def greedy(logits: torch.Tensor) -> torch.Tensor:
    """The likeliest token of each row: [R, V] -> [R]."""
    return logits.argmax(dim=-1)


def draw(
    logits: torch.Tensor,
    *,
    seeds: torch.Tensor,
    sequences: torch.Tensor,
    positions: torch.Tensor,
    temperatures: torch.Tensor,
    top_k: torch.Tensor,
    top_p: torch.Tensor,
) -> torch.Tensor:
    """A token for each row of float32 ``logits`` [R, V]: [R]; all else is [R], one value a row.

    ``top_k`` 0 and ``top_p`` 1 allow every token; a temperature of 0 takes the likeliest.
    """
    scaled = logits / temperatures.clamp(min=1e-6).to(logits.dtype)[:, None]
    ordered, order = scaled.sort(dim=-1, descending=True, stable=True)
    vocabulary = torch.arange(logits.shape[1], device=logits.device)
    probability = ordered.softmax(dim=-1)
    before = probability.cumsum(dim=-1) - probability
    allowed = (before < top_p.to(logits.dtype)[:, None]) | (vocabulary == 0)
    allowed &= (vocabulary < top_k[:, None]) | (top_k[:, None] == 0)
    noise = gumbel(seeds, sequences, positions, vocabulary).gather(1, order)
    best = (ordered + noise).masked_fill(~allowed, -torch.inf).argmax(dim=-1, keepdim=True)
    drawn = order.gather(1, best)[:, 0]
    return torch.where(temperatures == 0, greedy(logits), drawn)


def gumbel(
    seeds: torch.Tensor, sequences: torch.Tensor, positions: torch.Tensor, vocabulary: torch.Tensor
) -> torch.Tensor:
    """Gumbel noise [R, V], float32, of a seed, a sequence, a position and a token each."""
    state = _mixed(_mixed(_mixed(seeds) + sequences) + positions)
    bits = _mixed(state[:, None] + vocabulary * _GOLDEN)
    uniform = (((bits >> (64 - _BITS)) & (2**_BITS - 1)).to(torch.float32) + 0.5) / 2**_BITS
    noise: torch.Tensor = -torch.log(-torch.log(uniform))
    return noise


def _mixed(value: torch.Tensor) -> torch.Tensor:
    """splitmix64's finaliser, on int64 with its wrap-around."""
    value = value + _GOLDEN
    value = (value ^ _shifted(value, 30)) * _FIRST
    value = (value ^ _shifted(value, 27)) * _SECOND
    return value ^ _shifted(value, 31)


def _shifted(value: torch.Tensor, count: int) -> torch.Tensor:
    """A logical shift to the right."""
    shifted: torch.Tensor = (value >> count) & (2 ** (64 - count) - 1)
    return shifted
