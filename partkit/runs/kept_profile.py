"""Whether a kept profile still holds: its heaviest operations are timed again, and their times compared.

A machine's speed drifts by a factor of two between hours (other work on it, clocks, heat). Where times are off by more
than :data:`TOLERANCE` the profile is measured again: stages would still be balanced, for all operations grow slower
alike, but what is predicted, and what links cost beside it, would be another hour's.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from partkit.data.gauges import Gauge, Gauges
from partkit.data.job import ProfileJob
from partkit.data.orders import TimeGauges
from partkit.data.profile import Profile
from partkit.data.progress import Progress
from partkit.ranks.group import Ranks

TOLERANCE = 1.5
"""Factor, either way, by which the median gauge may be off."""


@dataclass(frozen=True)
class Verdict:
    """Whether a kept profile is used, and what people are told of it."""

    holds: bool
    words: str


def check_kept(kept: Profile, gauges: Gauges | None, group: Ranks[ProfileJob], tell: Progress) -> Verdict:
    """Time the gauges in the one rank of ``group`` and compare; about a second.

    A profile without gauges, from before they were kept, does not hold. One whose gauges cannot be timed does: none
    of its operations can be told, or memory is lacking.
    """
    if gauges is None:
        return Verdict(False, f"The profile kept {_when(kept)} has no operations to check it by: measured again")
    tell(f"Checking the profile kept {_when(kept)}", 0, 0)
    timed: list[tuple[Gauge, float]] = []
    if gauges.gauges:
        (reply,) = group.call(TimeGauges(gauges=gauges.gauges))
        pairs = zip(gauges.gauges, reply.seconds, strict=True)
        timed = [(gauge, seconds) for gauge, seconds in pairs if seconds is not None]
    return compare(kept, timed)


def compare(kept: Profile, timed: Sequence[tuple[Gauge, float]]) -> Verdict:
    """Judge a kept profile by gauges and their seconds today."""
    time_s = {node.name: node.time_s for node in kept.nodes}
    ratios: list[float] = []
    seen_s = 0.0
    for gauge, alone_s in timed:
        in_profile_s = sum(time_s.get(name, 0.0) for name in gauge.nodes)
        if in_profile_s > 0:
            ratios.append(alone_s * gauge.in_model * len(gauge.nodes) / in_profile_s)
            seen_s += in_profile_s
    if not ratios:
        return Verdict(True, f"Using the profile kept {_when(kept)}, which cannot be checked; --refresh measures anew")
    ratio = statistics.median(ratios)
    factor = max(ratio, 1 / ratio)
    if factor > TOLERANCE:
        return Verdict(
            False,
            f"The kept profile of {_when(kept)}, is {factor:.1f} times off today's speed, at load {load_now():.1f}: "
            "measured again",
        )
    share = seen_s / sum(time_s.values())
    what = "an operation" if len(ratios) == 1 else f"{len(ratios)} operations"
    return Verdict(
        True,
        f"Using the profile kept {_when(kept)}: {what} ({share:.0%} of its time) took {ratio:.2f} times as long now; "
        "--refresh measures anew",
    )


def load_now() -> float:
    """Processes that want a core, over the last minute."""
    return round(os.getloadavg()[0], 2)


def _when(profile: Profile) -> str:
    """How old a profile is, and how busy the machine was: a busy hour's times are no other hour's."""
    measured, load = profile.provenance.get("measured"), profile.provenance.get("load")
    if not isinstance(measured, str) or not isinstance(load, int | float):
        return "at an unknown time"
    age_s = (datetime.now(UTC) - datetime.fromisoformat(measured)).total_seconds()
    minutes, hours, days = (round(age_s / unit_s) for unit_s in (60, 3600, 86_400))
    age = f"{minutes} min" if minutes < 90 else f"{hours} h" if hours < 48 else f"{days} days"
    return f"{age} ago, at load {load:.1f} of {profile.provenance.get('cores')} cores"
