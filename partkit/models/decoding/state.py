"""``partkit::extend``, the one operation that changes state: the keys or values of a cache, written in place.

    cache      [R, H, L, D]   a parameter of the graph, which whoever runs the stage keeps from step to step
    new        [R, H, T, D]   of the T tokens of this step
    positions  [R, T]         where each token stands in its row: rows are at places of their own

The graph sees a function of its operands, so that a step is captured, cut and sent as any other graph. What runs writes
into ``cache`` and gives ``cache`` itself: nothing is copied but what is new. A stage that holds the operation holds the
cache; each group of sequences ("lane") has one of its own, given when the stage gets its tensors.
"""

from __future__ import annotations

import torch

CACHE = "cache."
"""How the names of tensors begin that are state."""

_ALIGNED = 16
"""Elements that rows of an attention mask are aligned to, as its fast kernels demand."""

_LIBRARY = torch.library.Library("partkit", "FRAGMENT")
_LIBRARY.define("extend(Tensor cache, Tensor new, Tensor positions) -> Tensor")


def _extend(cache: torch.Tensor, new: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    rows = torch.arange(new.shape[0], device=new.device)[:, None]
    own = cache[: new.shape[0]]
    own.transpose(1, 2).index_put_((rows, positions), new.transpose(1, 2))
    return own


def _extended(cache: torch.Tensor, new: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
    return cache.new_empty((new.shape[0], *cache.shape[1:]))


_LIBRARY.impl("extend", _extend, "CompositeExplicitAutograd")
torch.library.register_fake("partkit::extend", _extended, lib=_LIBRARY)

extend = torch.ops.partkit.extend.default
"""Write ``new`` at ``positions`` of the first rows of ``cache`` and give those rows, whole."""


def cache_length(max_length: int) -> int:
    """Positions of a cache for sequences of ``max_length`` tokens: one more, for what fills chunks, and aligned.

    >>> cache_length(15), cache_length(16)
    (16, 32)
    """
    return -(-(max_length + 1) // _ALIGNED) * _ALIGNED
