"""What a comparison's rows mean for someone who must choose."""

from __future__ import annotations

from collections.abc import Sequence

from partkit.result import Row, Verdict
from partkit.units import format_bytes, format_rate

UNSPLIT = ("single",)
"""Executors that use one device however many there are."""


def conclude(rows: Sequence[Row], num_devices: int) -> Verdict:
    """The best executor for throughput, latency and memory per device; only rows that are ``ok`` count."""
    sound = [row for row in rows if row.status == "ok" and row.samples_per_s is not None]
    if not sound:
        return Verdict(text="No executor gave a result that can be trusted.")
    fastest = max(sound, key=lambda row: row.samples_per_s or 0.0)
    timed = [row for row in sound if row.latency_p50_s is not None]
    quickest = min(timed, key=lambda row: row.latency_p50_s or 0.0, default=None)
    leanest = min(sound, key=lambda row: max(row.peak_bytes, default=0))
    return Verdict(
        throughput=fastest.executor,
        latency=quickest.executor if quickest is not None else None,
        memory=leanest.executor,
        text=" ".join([_throughput_text(fastest, sound, num_devices), _memory_text(leanest)]),
    )


def _throughput_text(fastest: Row, sound: Sequence[Row], num_devices: int) -> str:
    unsplit = next((row for row in sound if row.executor in UNSPLIT), None)
    best = f"{fastest.executor} is fastest with {format_rate(fastest.samples_per_s or 0)} samples/s"
    if unsplit is None or not unsplit.samples_per_s:
        return f"{best}."
    if fastest is unsplit:
        return f"You don't need to split: {best} on one of {num_devices} devices."
    ratio = (fastest.samples_per_s or 0) / unsplit.samples_per_s
    if _overlap(fastest, unsplit):
        return f"{best}, but its interval overlaps that of {unsplit.executor}: splitting shows no sure gain."
    return f"{best}, {ratio:.2f} times {unsplit.executor}, on {num_devices} devices."


def _memory_text(leanest: Row) -> str:
    return f"{leanest.executor} needs least memory per rank ({format_bytes(max(leanest.peak_bytes, default=0))})."


def _overlap(one: Row, other: Row) -> bool:
    if one.ci95 is None or other.ci95 is None:
        return False
    return one.ci95[0] <= other.ci95[1] and other.ci95[0] <= one.ci95[1]
