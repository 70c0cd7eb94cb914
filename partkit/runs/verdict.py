"""The verdict of a comparison: the best executor for each aim, and whether splitting is worth it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from partkit.data.result import Row, Verdict
from partkit.data.units import format_bytes, format_rate
from partkit.executors import EXECUTORS, WRITERS, ExecutorInfo

_TOO_LARGE = re.compile(r"needs (?P<needed>[^;]+?) on one device, and (?P<has>[^;]+)")
"""What :func:`partkit.machine.memory.require_room` says of a model that a device cannot hold."""


def conclude(rows: Sequence[Row], num_devices: int) -> Verdict:
    """The best executor for throughput, latency and memory per device; only rows that are ``ok`` count."""
    sound = [row for row in rows if row.status == "ok" and row.samples_per_s]
    must_split = _must_split_text(rows, sound)
    if not sound:
        return Verdict(text=" ".join([*must_split, "No executor gave a result that can be trusted."]))
    fastest = max(sound, key=_rate)
    timed = [row for row in sound if row.latency_p50_s is not None]
    quickest = min(timed, key=lambda row: row.latency_p50_s or 0.0, default=None)
    leanest = min(sound, key=_peak)
    return Verdict(
        throughput=fastest.executor,
        latency=quickest.executor if quickest is not None else None,
        memory=leanest.executor,
        text=" ".join([*must_split, _throughput_text(sound, num_devices), _memory_text(leanest)]),
    )


def _must_split_text(rows: Sequence[Row], sound: Sequence[Row]) -> list[str]:
    """Where no device holds the model: that it must be split, why, and who could; nothing where one holds it."""
    if any(_info(row).holds_whole_model for row in sound):
        return []
    refusals = [_TOO_LARGE.search(row.reason or "") for row in rows if _info(row).holds_whole_model]
    refusal = next(filter(None, refusals), None)
    if refusal is None:
        return []
    able = [row.executor for row in sound if not _info(row).on_one_device]
    who = f"{' and '.join(filter(None, (', '.join(able[:-1]), able[-1])))} can" if able else "none of these could"
    return [f"The model must be split: it needs {refusal['needed']} on one device, and {refusal['has']}; {who}."]


def _throughput_text(sound: Sequence[Row], num_devices: int) -> str:
    whole = max((row for row in sound if _info(row).holds_whole_model), key=_rate, default=None)
    split = max((row for row in sound if not _info(row).holds_whole_model), key=_rate, default=None)
    if whole is None:
        assert split is not None
        return f"{_told(split)}."
    if split is None:
        return f"{_told(whole)}{_where(whole, num_devices)}."
    if _rate(whole) >= _rate(split):
        return (
            f"You don't need to split: {_told(whole)}{_where(whole, num_devices)}; "
            f"the best split, {split.executor}, reaches {_rate(split) / _rate(whole):.2f} times that."
        )
    if _overlap(split, whole):
        return f"{_told(split)}, but its interval overlaps that of {whole.executor}: splitting shows no sure gain."
    return f"{_told(split)}, {_rate(split) / _rate(whole):.2f} times {whole.executor}, on {num_devices} devices."


def _told(row: Row) -> str:
    parts = [f"{row.lanes} lanes"] if row.lanes > 1 else []
    parts += [f"{row.microbatch} items as one"] if row.microbatch > 1 else []
    filling = f" ({', '.join(parts)})" if parts else ""
    return f"{row.executor} is fastest with {format_rate(_rate(row))} samples/s{filling}"


def _where(whole: Row, num_devices: int) -> str:
    if _info(whole).on_one_device:
        return f" on one of {num_devices} devices"
    return f" on {num_devices} devices, each of which must hold the whole model ({format_bytes(_peak(whole))})"


def _memory_text(leanest: Row) -> str:
    return f"{leanest.executor} needs least memory per device ({format_bytes(_peak(leanest))})."


def _info(row: Row) -> ExecutorInfo:
    """What is known of the row's executor, whose name is without the run that a joined row is marked with."""
    name = row.executor.partition(" ")[0]
    return {**EXECUTORS, **WRITERS}.get(name, ExecutorInfo(name))


def _rate(row: Row) -> float:
    return row.samples_per_s or 0.0


def _peak(row: Row) -> int:
    return max(row.peak_bytes, default=0)


def _overlap(one: Row, other: Row) -> bool:
    if one.ci95 is None or other.ci95 is None:
        return False
    return one.ci95[0] <= other.ci95[1] and other.ci95[0] <= one.ci95[1]
