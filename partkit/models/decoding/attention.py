"""Attention of a step over a whole cache: the same operations for one token a row and for a chunk of them.

Query heads that share a key head are taken as further queries of it, so that no key or value is copied for them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

NAME = "partkit"
"""What the function is called in transformers' table of attention functions."""


def attend(
    _module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention in transformers' own form: ``query`` [R, N, T, D] over ``key`` and ``value`` [R, H, L, D].

    ``attention_mask`` [R, 1, T, L] is is added to scores. Gives [R, T, N, D].
    """
    rows, num_heads, num_queries, size = query.shape
    shared = num_heads // key.shape[1]
    query = query.reshape(rows, key.shape[1], shared * num_queries, size)
    mask = attention_mask.to(query.dtype)
    if shared > 1:
        mask = mask[:, :, None].expand(-1, -1, shared, -1, -1).reshape(rows, 1, shared * num_queries, -1)
    scale = size**-0.5 if scaling is None else scaling
    if softcap is None:
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    else:
        scores = torch.tanh(query @ key.transpose(2, 3) * (scale / softcap)) * softcap + mask
        found = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype) @ value
    return found.reshape(rows, num_heads, num_queries, value.shape[-1]).transpose(1, 2), None
