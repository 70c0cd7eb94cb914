"""Two pieces of JSON data, value by value."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeGuard

from partkit.data.difference import Change, Scalar, Unit
from partkit.data.units import significant

_IDENTITY = ("executor", "rank", "index", "to", "planner", "name")
"""What tells the items of a list apart; of those a list has, the first."""

_WORDS = {
    "prediction": "predicted",
    "rows": "",
    "blocks": "",
    "stages": "stage",
    "param_bytes": "params",
    "bytes_per_s": "speed",
    "ranks": "rank",
    "sends": "to",
    "devices": "device",
    "alternatives": "planner",
    "samples_per_s": "samples/s",
    "steady_samples_per_s": "steady samples/s",
    "per_rank_samples_per_s": "samples/s per rank",
    "ci95": "95% interval",
    "gpu_util_max": "GPU max",
    "gpu_util_mean": "GPU mean",
    "tf32": "TF32",
    "structure_sha256": "structure",
    "sm_clock_mhz": "clock (MHz)",
}
_UNITS: dict[str, Unit] = {
    "samples_per_s": "samples/s",
    "ci95": "samples/s",
    "bytes_per_s": "bytes/s",
    "busy": "share",
    "gap": "share",
    "bottleneck_efficiency": "share",
    "prediction_error": "share",
    "gpu_util_max": "percent",
    "gpu_util_mean": "percent",
}
_SAYS_MOST = ("samples_per_s", "compute_s", "measured_s", "bytes", "time_s", "peak_bytes", "period_s", "memory_bytes")
_NO_AMOUNTS = ("bottleneck_stage", "index", "seed", "seed_of_turns", "seed_of_weights_and_inputs")
"""Numbers of which one is not so much larger than another."""


_NO_RATIOS: tuple[Unit, ...] = ("", "share", "percent")


def changes_between(before: Any, after: Any, path: str, *, skip: Collection[str] = ()) -> Iterator[Change]:
    """A change for each value that differs, in the order of the files; ``skip`` names keys that are not looked at."""
    if isinstance(before or {}, dict) and isinstance(after or {}, dict):
        for key in _both(before or {}, after or {}):
            if key not in skip:
                inner = f"{path}.{key}" if path else key
                yield from changes_between((before or {}).get(key), (after or {}).get(key), inner, skip=skip)
    elif _is_records(before) or _is_records(after):
        items = _by_identity(before or ()), _by_identity(after or ())
        for key in _both(*items):
            old, new = items[0].get(key), items[1].get(key)
            if old is None or new is None:
                yield _one_sided(old, new, f"{path}[{key}]")
            else:
                yield from changes_between(old, new, f"{path}[{key}]", skip=skip)
    elif before != after:
        yield change_of(path, _value(before), _value(after))


def change_of(
    path: str,
    before: Scalar | tuple[Scalar, ...],
    after: Scalar | tuple[Scalar, ...],
    *,
    what: str | None = None,
    unit: Unit | None = None,
) -> Change:
    """The change of one value; what it is called and its unit follow from its path unless they are given."""
    keys = _keys(path)
    found = _unit(keys) if unit is None else unit
    relative = None
    if (
        keys[-1] not in _NO_AMOUNTS
        and _is_number(before)
        and _is_number(after)
        and before > 0
        and found not in _NO_RATIOS
    ):
        relative = significant(after / before - 1, 6)
    return Change(path=path, what=what or told_path(path), unit=found, before=before, after=after, change=relative)


def _one_sided(before: Any, after: Any, path: str) -> Change:
    """A record that only one has, by the figure of it that says most."""
    key = next((key for key in _SAYS_MOST if key in (before or after)), None)
    if key is None:
        return change_of(path, None if before is None else "there", None if after is None else "there")
    return change_of(f"{path}.{key}", *(None if each is None else _value(each[key]) for each in (before, after)))


def told_path(path: str) -> str:
    """A path in words.

    >>> told_path("prediction.samples_per_s"), told_path("stages[1].sends[2].bytes"), told_path("rows[fsdp].busy")
    ('predicted samples/s', 'stage 1 to 2 bytes', 'fsdp busy')
    >>> told_path("latency_s.p50"), told_path("cluster.devices[gpu0].memory_bytes")
    ('latency p50', 'cluster device gpu0 memory')
    """
    return " ".join(filter(None, (_word(key) for key in _keys(path))))


def _word(key: str) -> str:
    if key in _WORDS:
        return _WORDS[key]
    for suffix in ("_bytes", "_s"):
        if key.endswith(suffix):
            key = key.removesuffix(suffix)
            break
    return key.replace("_", " ")


def _keys(path: str) -> list[str]:
    """The parts of a path; what stands in brackets may hold dots."""
    keys: list[str] = []
    for place, part in enumerate(path.split("[")):
        inner, bracket, rest = part.partition("]") if place else ("", "", part)
        keys += [inner] if bracket else []
        keys += [key for key in (rest if bracket or not place else part).split(".") if key]
    return keys


def _unit(keys: list[str]) -> Unit:
    for key in reversed(keys[-2:]):
        for name, unit in _UNITS.items():
            if key == name or key.endswith(f"_{name}"):
                return unit
        if key.endswith("_s"):
            return "s"
        if key == "bytes" or key.endswith("_bytes"):
            return "bytes"
    return ""


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys((*one, *other)))


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _by_identity(items: Any) -> dict[str, Any]:
    """Items by what tells them apart, by their place where nothing does."""
    for key in _IDENTITY:
        names = [str(each[key]) for each in items if key in each]
        if len(set(names)) == len(items):
            return {name: {k: v for k, v in each.items() if k != key} for name, each in zip(names, items, strict=True)}
    return {str(place): each for place, each in enumerate(items)}


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _value(value: Any) -> Scalar | tuple[Scalar, ...]:
    if isinstance(value, list):
        return tuple(each if isinstance(each, str | int | float | bool) else str(each) for each in value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
