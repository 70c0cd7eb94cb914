"""What happened when, in a run or in a simulated one: one event a stretch of time on one track."""

from __future__ import annotations

from typing import Literal

from partkit.data.document import Measured, Record

Track = Literal["compute", "send", "idle"]
Cause = Literal["input", "slot", "send"]
CAUSES: tuple[Cause, ...] = ("input", "slot", "send")
CAUSE_WORDS: dict[Cause, str] = {
    "input": "waits for its input",
    "slot": "waits for a free slot downstream",
    "send": "sends, where that keeps it from computing",
}
"""Why a place does not compute."""


class Event(Record):
    """One place busy with an item, or waiting for it."""

    stage: int
    replica: int = 0
    track: Track
    item: int
    begin_s: Measured
    """Since the run began; one clock for all places."""
    end_s: Measured
    to: int | None = None
    """Of a send: the stage that receives."""
    cause: Cause | None = None
    """Of waiting."""
