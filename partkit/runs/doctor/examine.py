"""Look at a machine in order, group by group: what a later group needs, an earlier one has found to work."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module

from partkit.data.cluster import Cluster
from partkit.data.examination import Check, Examination, Finding
from partkit.data.progress import Progress, silent
from partkit.machine.environment import describe_environment
from partkit.runs.doctor.looked_at import Group, LookedAt

GROUPS: Mapping[str, str] = {
    "host": "partkit.runs.doctor.host:host",
    "folders": "partkit.runs.doctor.folders:folders",
    "network": "partkit.runs.doctor.network:network",
    "packages": "partkit.runs.doctor.packages:packages",
    "gpus": "partkit.runs.doctor.gpus:gpus",
    "ranks": "partkit.runs.doctor.ranks:ranks",
}
"""Where each group of checks lives; imported when its turn comes, for some import what an earlier one looks at."""
_MOST_ADVICE = 4


def examine_machine(
    *, device: str = "auto", threads: int | None = None, progress: Progress | None = None
) -> tuple[Examination, Cluster | None]:
    """Everything that partkit's own start and runs depend on, and the machine as a plan takes it.

    Raises nothing for a fault of the machine: that is a check. The cluster is None where links were not measured: a
    single GPU has none, and what is broken may keep ranks from starting.
    """
    tell, seen = progress or silent, LookedAt(device=device, threads=threads or 1)
    checks: list[Check] = []
    for done, (name, place) in enumerate(GROUPS.items()):
        tell("Looking at this machine", done, len(GROUPS))
        checks += _checks_of(name, place, seen)
    tell("Looking at this machine", len(GROUPS), len(GROUPS))
    return examination_of(checks, seen), seen.cluster


def examination_of(checks: Sequence[Check], seen: LookedAt) -> Examination:
    """What was found, as a document."""
    findings = tuple(
        Finding(severity=check.status, what=f"{check.name}: {check.finding}", hint=check.advice)
        for check in checks
        if check.status != "ok"
    )
    return Examination(
        ok=not any(check.status == "broken" for check in checks),
        advice=advice(checks, seen),
        findings=findings,
        checks=tuple(checks),
        devices=tuple(seen.devices),
        links=tuple(seen.links),
        environment=describe_environment(),
    )


def advice(checks: Sequence[Check], seen: LookedAt) -> str:
    """One paragraph: what is broken and its cure, then what is slow, then what can be done with the machine."""
    sentences: list[str] = []
    for status, word in (("broken", "Broken"), ("warning", "Worth a look")):
        found = [check for check in checks if check.status == status]
        for check in found[:_MOST_ADVICE]:
            cure = f": {check.advice}" if check.advice else ""
            sentences.append(f"{word}: {check.name} ({check.finding}){cure}.")
        if len(found) > _MOST_ADVICE:
            sentences.append(f"{len(found) - _MOST_ADVICE} more in the table.")
    if any(check.status == "broken" for check in checks):
        return " ".join(sentences)
    if seen.kind == "cuda" and len(seen.devices) > 1:
        way = f"{len(seen.devices)} GPUs are ready: partkit plan MODEL --stages {len(seen.devices)}"
    elif seen.kind == "cuda":
        way = "One GPU is ready; to plan for more of them, name a cluster: partkit plan MODEL --cluster NAME"
    else:
        way = "There is no GPU to use: plans run on the CPU, whose cores the stages share"
    return " ".join([*sentences, f"{way}."])


def _checks_of(name: str, place: str, seen: LookedAt) -> Iterator[Check]:
    """The checks of a group; one that fails itself is told as what is broken, and the next goes on."""
    module, _, function = place.partition(":")
    if name == "ranks" and seen.is_broken and seen.imports.fault("torch"):
        yield Check(group=name, name="ranks", status="warning", finding="not started, since torch cannot be imported")
        return
    try:
        group: Group = getattr(import_module(module), function)
        yield from group(seen)
    except Exception as error:  # noqa: BLE001 - a machine is broken in ways that nobody foresaw
        seen.is_broken = True
        where = traceback.extract_tb(error.__traceback__)[-1]
        words = " ".join(str(error).split())
        yield Check(
            group=name,
            name=name,
            status="broken",
            finding=f"looking failed: {type(error).__name__}: {words} ({where.filename}:{where.lineno})",
            advice="report this as a fault of partkit, if nothing above explains it",
        )
