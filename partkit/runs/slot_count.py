"""How many items a program's pipeline holds at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage

from partkit.stages.cut import ValueSpec
from partkit.transport.shared_slots import slot_bytes

_HICCUP_S = 0.04
"""What items under way should last while the program's thread does not run: hosts have been seen to stop for 20 ms."""
_MOST_BYTES = 512 << 20
"""Shared memory of all slots together, beyond the fewest: zeroed, and on CUDA pinned, when a pipeline is opened."""
_MOST = 1024


@dataclass(frozen=True)
class SlotCounts:
    """Items under way, and outputs that the program may keep beside them without a copy."""

    in_flight: int
    lent: int


def choose_slots(
    fewest: int,
    period_s: float,
    inputs: Sequence[ValueSpec],
    outputs: Sequence[ValueSpec],
    folder: Path,
    asked: int | None = None,
) -> SlotCounts:
    """As many items as pass in ``_HICCUP_S`` beside the ``fewest`` that the stages hold, or as were ``asked`` for.

    Bounded by memory: at most 512 MiB and half of what is free in ``folder`` for all slots, though never fewer than
    ``fewest``. As many outputs again may be lent to the program; of them rather than of items in flight is there want.
    """
    room = min(_MOST_BYTES, _free_bytes(folder) // 2)
    per_item, per_output = slot_bytes(inputs), slot_bytes(outputs)
    in_flight = asked
    if in_flight is None:
        hiding = fewest + math.ceil(_HICCUP_S / period_s) if period_s > 0 else fewest
        in_flight = max(fewest, min(hiding, _MOST, room // (per_item + 2 * per_output)))
    lent = (room - in_flight * (per_item + per_output)) // per_output
    return SlotCounts(in_flight, max(1, min(in_flight + 1, lent)))


def most_in_memory(inputs: Sequence[ValueSpec], outputs: Sequence[ValueSpec], folder: Path) -> int:
    """Items whose slots half of what is free in ``folder`` holds, lent outputs included."""
    return _free_bytes(folder) // 2 // (slot_bytes(inputs) + 2 * slot_bytes(outputs))


def _free_bytes(folder: Path) -> int:
    return disk_usage(folder).free
