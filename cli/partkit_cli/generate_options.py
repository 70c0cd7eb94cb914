"""The options of ``partkit plan`` that make a plan which writes text."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from partkit.errors import UsageError
from partkit_cli.options import ModelOptions, PlanOptions

if TYPE_CHECKING:
    from partkit.data.generate import Generate

_MIX = re.compile(r"(\d+):(\d+)")
_STEP_TOKENS = 512
"""Prompt tokens that a step of all of a lane's rows takes, where nothing else is said."""
_CHUNKS = (8, 256)


@dataclass(frozen=True)
class GenerateOptions:
    """Whether and how a plan's stages write text."""

    panel: ClassVar[str] = "Generation"

    generate: Annotated[
        bool, typer.Option("--generate", help="Plan a decoder to write text with, for 'partkit generate'.")
    ] = False
    max_length: Annotated[int | None, typer.Option(min=2, help="Most tokens of a sequence, prompt and new ones.")] = (
        None
    )
    sequences: Annotated[int | None, typer.Option(min=1, help="Sequences that are written at once; default: 1.")] = None
    chunk: Annotated[
        int | None, typer.Option(min=2, help="Tokens of a prompt that a step takes; default: by the sequences.")
    ] = None
    mix: Annotated[
        str | None,
        typer.Option(
            metavar="PROMPT:NEW", help="Balance for sequences of this many tokens, as 128:96; default: for writing."
        ),
    ] = None

    def checked(self, planning: PlanOptions, building: ModelOptions, *, file: bool, other: bool) -> Generate | None:
        """What was asked for, None without ``--generate``; raises :class:`UsageError` for what does not go together.

        ``file``: the model is a profile's file; ``other``: the plan is also to be measured or one of many.
        """
        from partkit.data.generate import Generate

        if not self.generate:
            given = [
                f"--{each.name.replace('_', '-')}" for each in fields(self) if getattr(self, each.name) is not None
            ]
            given.remove("--generate")
            if given:
                raise UsageError(f"{given[0]} is for a plan that writes text", hint="add --generate")
            return None
        stages = planning.num_stages
        if self.max_length is None:
            raise UsageError("--generate needs the most tokens of a sequence", hint="add --max-length, as 2048")
        if stages is None:
            raise UsageError("--generate needs a number of stages", hint="add --stages N")
        if file:
            raise UsageError("--generate cannot change a profile's file", hint="name the model instead")
        if other:
            raise UsageError("--generate goes with neither --measure nor --pareto", hint="leave it out")
        if planning.max_replicas != 1:
            raise UsageError("a stage that writes text is on one device", hint="leave --replicate out")
        if planning.microbatch != "1" or planning.max_latency is not None or planning.max_delay is not None:
            raise UsageError(
                "--microbatch, --max-latency and --max-delay are of items, and a plan that writes text has none",
                hint="use --sequences",
            )
        self._refuse_shapes(building)
        sequences = self.sequences or 1
        lanes = (planning.num_lanes if planning.lanes else None) or max(
            count for count in range(1, min(stages, sequences) + 1) if sequences % count == 0
        )
        if sequences % lanes:
            raise UsageError(
                f"{sequences} sequences cannot be dealt to {lanes} lanes evenly", hint="change one of them"
            )
        chunk = self.chunk or max(_CHUNKS[0], min(_CHUNKS[1], _STEP_TOKENS * lanes // sequences))
        chunk = max(2, min(chunk, self.max_length))
        mix = self._mix(self.max_length)
        return Generate(max_length=self.max_length, sequences=sequences, lanes=lanes, chunk=chunk, mix=mix)

    def _mix(self, max_length: int) -> tuple[int, int]:
        if self.mix is None:
            return 0, 0
        match = _MIX.fullmatch(self.mix)
        if match is None or not int(match[1]) or not int(match[2]):
            raise UsageError(
                f"--mix {self.mix} is no prompt's length and number of new tokens", hint="write it as 128:96"
            )
        if int(match[1]) + int(match[2]) > max_length:
            raise UsageError(
                f"--mix {self.mix} is {int(match[1]) + int(match[2])} tokens, and --max-length is {max_length}",
                hint="raise --max-length",
            )
        return int(match[1]), int(match[2])

    def _refuse_shapes(self, building: ModelOptions) -> None:
        given = {
            "--batch": building.batch is not None,
            "--seq": building.seq is not None,
            "--dynamic": bool(building.dynamic),
            "--input": bool(building.inputs),
            "--compile": building.compiled,
        }
        for name, is_given in given.items():
            if is_given:
                raise UsageError(f"{name} has no meaning with --generate", hint="use --sequences and --max-length")
