from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from partkit.models.decoding.choice import draw, gumbel

_MASK = 2**64 - 1


def reference_uniform(seed: int, sequence: int, position: int, token: int) -> float:
    """splitmix64 in Python's own whole numbers."""

    def mixed(value: int) -> int:
        value = (value + 0x9E3779B97F4A7C15) & _MASK
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
        return value ^ (value >> 31)

    state = mixed((mixed((mixed(seed) + sequence) & _MASK) + position) & _MASK)
    bits = mixed((state + token * 0x9E3779B97F4A7C15) & _MASK)
    return ((bits >> 41) + 0.5) / 2**23


def reference_draw(logits: list[float], seed: int, sequence: int, position: int, **how: Any) -> int:
    """The same choice, one token at a time."""
    temperature, top_k, top_p = how["temperature"], how["top_k"], how["top_p"]
    order = sorted(range(len(logits)), key=lambda token: -logits[token])
    if temperature == 0:
        return order[0]
    scaled = [logits[token] / temperature for token in order]
    total = sum(math.exp(value - scaled[0]) for value in scaled)
    best, before = (-math.inf, -1), 0.0
    for rank, (token, value) in enumerate(zip(order, scaled, strict=True)):
        if (rank == 0 or before < top_p) and (top_k == 0 or rank < top_k):
            noise = -math.log(-math.log(reference_uniform(seed, sequence, position, token)))
            best = max(best, (value + noise, token))
        before += math.exp(value - scaled[0]) / total
    return best[1]


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(0.0, 0, 1.0), (1.0, 0, 1.0), (0.7, 5, 1.0), (1.3, 0, 0.8), (0.9, 8, 0.5)]
)
def test_a_draw_is_the_references(temperature: float, top_k: int, top_p: float) -> None:
    logits = torch.randn((40, 50), generator=torch.Generator().manual_seed(1)) * 3
    rows = torch.arange(40)
    drawn = draw(
        logits,
        seeds=torch.full((40,), 7),
        sequences=rows // 8,
        positions=rows % 8,
        temperatures=torch.full((40,), temperature, dtype=torch.float64),
        top_k=torch.full((40,), top_k),
        top_p=torch.full((40,), top_p, dtype=torch.float64),
    )
    how = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    assert drawn.tolist() == [reference_draw(logits[i].tolist(), 7, i // 8, i % 8, **how) for i in range(40)]


def test_tokens_are_drawn_as_often_as_their_probability_says() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    count = 20_000
    ones = torch.ones(count, dtype=torch.int64)
    drawn = draw(
        probabilities.log().repeat(count, 1),
        seeds=ones,
        sequences=ones,
        positions=torch.arange(count),
        temperatures=ones.double(),
        top_k=0 * ones,
        top_p=ones.double(),
    )
    shares = torch.bincount(drawn, minlength=4) / count
    assert (shares - probabilities).abs().max() < 0.012  # three standard deviations


def test_noise_is_always_a_number() -> None:
    noise = gumbel(torch.arange(64), torch.arange(64), torch.arange(64), torch.arange(50_000))
    assert noise.isfinite().all()
