"""What ``--pin REGEX=STAGE`` and ``--cap DEVICE=SIZE`` say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from partkit.errors import InfeasibleError, UsageError

if TYPE_CHECKING:
    from partkit.data.cluster import Cluster

ALL = "all"
"""The device of a ``--cap`` that holds for every device."""


def pins_of(texts: Sequence[str]) -> dict[str, int]:
    """Stage by regular expression. Raises :class:`InfeasibleError` for one that is pinned to two."""
    pins: dict[str, int] = {}
    for regex, stage in map(_pin, texts):
        if pins.setdefault(regex, stage) != stage:
            raise InfeasibleError(
                f"--pin {regex!r} names stage {pins[regex]} and stage {stage}", hint="leave one of them out"
            )
    return pins


def split_cap(text: str) -> tuple[str, int]:
    """Device and bytes of one ``--cap``. Raises :class:`UsageError` for another form."""
    from partkit.data.units import parse_bytes

    name, equals, size = text.rpartition("=")
    if not equals:
        raise UsageError(f"--cap {text} is not DEVICE=SIZE", hint="write it as --cap 0=24GiB")
    return name, parse_bytes(size)


def caps_of(texts: Sequence[str], cluster: Cluster) -> dict[int, int]:
    """Bytes by device of ``cluster``; a cap of :data:`ALL` holds for those that have none of their own."""
    of_all: dict[int, int] = {}
    of_one: dict[int, int] = {}
    for text in texts:
        name, size = split_cap(text)
        if name == ALL:
            of_all |= dict.fromkeys(range(len(cluster.devices)), size)
        else:
            of_one[_device(text, name, cluster)] = size
    return of_all | of_one


def _device(text: str, name: str, cluster: Cluster) -> int:
    names = [device.name for device in cluster.devices]
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(names):
        return int(name)
    raise UsageError(
        f"--cap {text} names device {name!r}, and cluster {cluster.name!r} has {len(names)}",
        hint=f"use 0 to {len(names) - 1}, or one of {', '.join(names)}",
    )


def _pin(text: str) -> tuple[str, int]:
    regex, equals, stage = text.rpartition("=")
    if not equals or not regex or not stage.isdecimal():
        raise UsageError(f"--pin {text} is not REGEX=STAGE", hint="write it as --pin 'embeddings=0'")
    return regex, int(stage)
