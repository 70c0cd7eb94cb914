"""What a plan says of writing text, and the shape of a decode step in a model's options; no torch."""

from __future__ import annotations

import struct
from typing import Any

from pydantic import Field, model_validator

from partkit.data.document import Measured, Record
from partkit.data.model import ModelSpec

TOLD = struct.Struct("<ii")
"""A token as ranks tell of it while they write: its sequence's number, the token."""

GENERATE_OPTION = "generate."
"""Prefix of the options that make a step of a decoder."""


class Generate(Record):
    """How a plan's stages write text."""

    max_length: int = Field(ge=2)
    """Most tokens of a sequence, prompt and new ones."""
    sequences: int = Field(ge=1, le=4096)
    """Sequences that are written at once, in all lanes."""
    lanes: int = Field(default=1, ge=1, le=64)
    """Groups of sequences that are under way at once, each at another stage."""
    chunk: int = Field(default=32, ge=2)
    """Tokens of a prompt that a step takes."""
    mix: tuple[int, int] = (0, 0)
    """Prompt and new tokens of the usual sequence that the plan is balanced for; 0, 0: for writing alone."""
    tokens_per_s: Measured = 0.0
    """New tokens that all sequences together should give: of ``mix``, or once all prompts are read."""
    token_s: Measured = 0.0
    """Seconds that one sequence should take from token to token."""
    first_token_s: Measured = 0.0
    """Seconds from a prompt of ``mix`` that has a place to its first token; 0: not predicted."""

    @model_validator(mode="after")
    def _lanes_are_equal(self) -> Generate:
        if self.sequences % self.lanes:
            raise ValueError(f"{self.sequences} sequences cannot be dealt to {self.lanes} lanes evenly")
        return self

    @property
    def is_mixed(self) -> bool:
        """Whether the plan is balanced for reading prompts too."""
        return self.mix != (0, 0)

    @property
    def rows(self) -> int:
        """Sequences of one lane."""
        return self.sequences // self.lanes

    def step(self, tokens: int) -> StepShape:
        """The step that takes ``tokens`` of each of a lane's sequences."""
        return StepShape(max_length=self.max_length, sequences=self.sequences, rows=self.rows, tokens=tokens)


class StepShape(Record):
    """What a decode step holds and takes."""

    max_length: int
    sequences: int
    rows: int
    tokens: int


def with_shape(spec: ModelSpec, shape: StepShape) -> ModelSpec:
    """The model as a step of that shape."""
    options = {f"{GENERATE_OPTION}{name}": value for name, value in shape.model_dump().items()}
    return spec.model_copy(update={"options": {**spec.options, **options}, "inputs": (), "structure_sha256": None})


def shape_of(spec: ModelSpec) -> StepShape | None:
    """The step that a model's options make of it; None: it is a plain model."""
    given: dict[str, Any] = {
        name.removeprefix(GENERATE_OPTION): value
        for name, value in spec.options.items()
        if name.startswith(GENERATE_OPTION)
    }
    return StepShape(**given) if given else None


class Sampling(Record):
    """How the next token is chosen of a model's logits."""

    temperature: float = Field(default=0.0, ge=0)
    """Logits are divided by it; 0: the token with the largest is taken, whatever else is asked for."""
    top_k: int = Field(default=0, ge=0)
    """Tokens that may be drawn, the likeliest; 0: all."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """The likeliest tokens that together have this probability may be drawn."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """What is drawn depends on it, the sequence's number and the token's position, and on nothing else."""

    @property
    def is_greedy(self) -> bool:
        """True where nothing is drawn."""
        return self.temperature == 0.0


class Prompt(Record):
    """One sequence to be continued."""

    tokens: tuple[int, ...] = Field(min_length=1)
    max_new_tokens: int = Field(ge=1)


class Written(Record):
    """What was written after one prompt."""

    tokens: tuple[int, ...]
    """New tokens; the one that stopped the sequence is the last."""
    finish: str
    """``length`` or ``stop``."""
    first_token_s: float
    """From the order to its first token."""
    last_token_s: float
