"""Which of the ranks that gave no answer is to blame: the one that waits for no other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from partkit.ranks.pulse import Pulse

_SILENT_S = 5.0
"""Without a sign of life for so long, a rank is stuck: its thread for them is asked twice a second."""
_FRESH_S = 2.0
"""A function that a rank was in longer ago explains nothing; a node that it computed still tells how far it came."""
_STOPPED = ("T", "t")
"""States of processes that a signal, or a debugger, has stopped."""


def stalled(pulses: Mapping[int, Pulse | None], states: Mapping[int, str]) -> dict[int, str]:
    """The ranks to blame, each with what holds it up; empty where all wait for each other.

    ``pulses`` and ``states`` are of the ranks that gave no answer: their last sign of life, and their processes' state
    as Linux names it. A stopped process explains all others, then one without a sign of life, then one that works, then
    the one whose device has come least far.
    """
    now = time.time()
    stopped = {rank: "was stopped by a signal or a debugger" for rank in pulses if states[rank] in _STOPPED}
    seen = {rank: pulse for rank, pulse in pulses.items() if pulse is not None and rank not in stopped}
    silent = {
        rank: f"gave no sign of life for {now - pulse.at:.0f} s" for rank, pulse in seen.items()
        if now - pulse.at > _SILENT_S
    }  # fmt: skip
    working = {rank: "got stuck" for rank, pulse in seen.items() if pulse.doing == "works"}
    on_device = [rank for rank, pulse in seen.items() if pulse.doing == "awaits its device"]
    least = sorted(on_device, key=lambda rank: (min(seen[rank].turns.values(), default=0), rank))[:1]
    return stopped or silent or working or dict.fromkeys(least, "waited for its device")


def last_seen(pulse: Pulse | None, *, names_function: bool = False) -> str:
    """Where a rank was at its last sign of life, to be put behind what became of it; '' where that is not known.

    ``names_function``: where it computed no node, and did not wait for others, tell the function.

    >>> last_seen(Pulse(at=0.0, doing="works", where="forward (net.py:3)", node="linear_1", turns={1: 17}))
    '; last seen at node linear_1 in turn 17'
    """
    if pulse is None:
        return ""
    is_named = names_function and pulse.doing != "waits" and time.time() - pulse.at < _FRESH_S
    at = f" at {pulse.place}" if pulse.node is not None or is_named else ""
    turns = " and ".join(str(turn) for turn in pulse.turns.values())
    seen = at + (f" in turn {turns}" if turns else "")
    return f"; last seen{seen}" if seen else ""


def process_state(pid: int) -> str:
    """A process's state as Linux names it (R, S, D, T, ...); '' where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
