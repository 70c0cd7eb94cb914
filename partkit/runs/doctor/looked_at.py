"""What the groups of checks share: the machine as far as it is known, and the ways to write a check down."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from partkit.data.cluster import Cluster
from partkit.data.examination import Check, ExaminedDevice, ExaminedLink, Status
from partkit.data.job import DeviceType
from partkit.runs.doctor.imports import Imports


@dataclass
class LookedAt:
    """What is known so far; each group of checks adds to it."""

    device: str
    """auto, cpu or cuda, as asked for."""
    threads: int
    """Of each rank on the CPU."""
    imports: Imports = field(default_factory=Imports)
    kind: DeviceType = "cpu"
    """What ranks compute on."""
    devices: list[ExaminedDevice] = field(default_factory=list)
    links: list[ExaminedLink] = field(default_factory=list)
    cluster: Cluster | None = None
    """The machine as a plan takes it; None where its links could not be measured."""
    is_broken: bool = False
    """Something before makes it useless to start ranks."""


Group = Callable[[LookedAt], Iterable[Check]]


@dataclass(frozen=True)
class Writer:
    """Writes the checks of one group."""

    group: str

    def ok(self, name: str, finding: str) -> Check:
        """As it should be."""
        return self._check(name, "ok", finding, None)

    def warning(self, name: str, finding: str, advice: str | None = None) -> Check:
        """Works, but slower or less than it could."""
        return self._check(name, "warning", finding, advice)

    def broken(self, name: str, finding: str, advice: str | None = None) -> Check:
        """Something that partkit does will fail."""
        return self._check(name, "broken", finding, advice)

    def _check(self, name: str, status: Status, finding: str, advice: str | None) -> Check:
        return Check(group=self.group, name=name, status=status, finding=" ".join(finding.split()), advice=advice)
