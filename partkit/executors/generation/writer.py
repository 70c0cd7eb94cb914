"""What writes text on a rank: partkit's stages, or transformers' own ``generate()``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, cast

from partkit.data.generate import Prompt, Sampling, Written
from partkit.executors.info import class_of, executor_info
from partkit.executors.protocol import RankContext

Tell = Callable[[int, int], None]
"""Hears of each new token with its sequence's number: ``(sequence, token)``."""


class Writer(Protocol):
    """One rank's part; all ranks make the same calls."""

    @property
    def why_no_graph(self) -> str | None:
        """Why steps are in no CUDA graphs where they might be; None where that is so, or nothing to tell."""

    def load(self) -> None:
        """Build this rank's part and its weights."""

    def write(
        self, prompts: Sequence[Prompt], sampling: Sampling, stops: frozenset[int], tell: Tell | None
    ) -> list[Written]:
        """Continue all prompts; the first rank gets what was written, in the prompts' order, the others nothing."""

    def turns(self) -> dict[int, int]:
        """Turns that each stage of this rank has taken; another thread may ask at any time."""

    def close(self) -> None:
        """Release what must be released before the process group is destroyed."""


def make_writer(context: RankContext) -> Writer:
    """This rank's part of the way to write that the job names."""
    return cast("Callable[[RankContext], Writer]", class_of(executor_info(context.job.executor)))(context)
