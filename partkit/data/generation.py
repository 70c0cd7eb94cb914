"""What was written, and how fast: the document of ``partkit generate --json``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from partkit.data.document import Measured, Record


class Sequence(Record):
    """What was written after one prompt: new tokens only."""

    index: int
    tokens: tuple[int, ...]
    text: str | None = None
    """None where no tokenizer is known."""
    finish: Literal["length", "stop"]


class Percentiles(Record):
    """Seconds, over sequences."""

    p50: Measured
    p95: Measured


class Generation(Record):
    """All sequences, in the order of the prompts."""

    kind: Literal["generation"] = "generation"
    sequences: tuple[Sequence, ...]
    tokens_per_s: Measured
    """New tokens of all sequences, over the time from the first prompt to the last token."""
    first_token_s: Percentiles
    """From when all prompts were there to a sequence's first token: where prompts wait for a place, that too."""
    token_s: Percentiles
    """Mean seconds from one token of a sequence to the next; 0 for sequences of one token."""
    peak_bytes: tuple[int, ...] = ()
    """Of each stage's device."""
    environment: dict[str, Any] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
