"""Eager's fast path of attention, which models are compared without."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def without_fast_path() -> Iterator[None]:
    """Compute outputs to be compared: nn.TransformerEncoder's fast path makes padded places 0.

    Those are nobody's to read, and graphs, which torch.export makes of the other path, compute them.
    """
    was_on = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_on)
