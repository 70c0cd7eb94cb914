"""Devices and the links between them: what a plan is made for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from partkit.data.document import Document, Record
from partkit.data.quantities import BytesPerSecond, Factor, Seconds


class Device(Record):
    """One device that can hold a stage. ``speed`` divides node times (1.0: the profiled device)."""

    name: str
    type: str = "cpu"
    memory_bytes: int | None = Field(default=None, gt=0)
    """None: not limited."""
    speed: Factor = 1.0
    threads: int | None = Field(default=None, ge=1, le=4096)
    """Of a CPU device: what its rank computes with; None: as the profile was measured."""


class Link(Record):
    """Cost of one value between two devices: ``latency_s + bytes / bytes_per_s``."""

    bytes_per_s: BytesPerSecond = Field(gt=0)
    latency_s: Seconds = Field(default=0.0, ge=0)

    def transfer_s(self, num_bytes: float) -> float:
        """Seconds to move one value of ``num_bytes``."""
        return self.latency_s + num_bytes / self.bytes_per_s


class PairLink(Link):
    """A link that holds for one ordered pair of devices."""

    source: int = Field(ge=0)
    target: int = Field(ge=0)


class Cluster(Document):
    """Devices in the order that stages take them, and what it costs to send between them."""

    most_items: ClassVar[Mapping[str, int]] = {"devices": 10_000, "links": 200_000}

    schema_version: Literal[1] = 1
    kind: Literal["cluster"] = "cluster"
    name: str = "unnamed"
    devices: tuple[Device, ...] = Field(min_length=1)
    link: Link
    links: tuple[PairLink, ...] = ()
    overlap: bool = True
    """True: a stage's period is max(compute, send, receive); False: their sum."""
    fanout: Literal["each", "once"] = "each"
    """Whether a value costs its sender once for each stage that reads it, or once in all."""
    shared_cores: Factor | None = None
    """Devices' worth of work that the host can do at once (CPU devices share its cores); None: all of them."""
    citation: str | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _links_join_devices(self) -> Self:
        count = len(self.devices)
        for link in self.links:
            if max(link.source, link.target) >= count:
                raise ValueError(f"link {link.source} -> {link.target} names a device past the last, {count - 1}")
        return self

    def with_devices(self, count: int) -> Cluster:
        """The same cluster with its first ``count`` devices; what it lacks is like its first, on its ``link``."""
        first = self.devices[0]
        stem = first.name.rstrip("0123456789")
        added = range(len(self.devices), count)
        more = tuple(first.model_copy(update={"name": f"{stem}{index}"}) for index in added)
        links = tuple(link for link in self.links if max(link.source, link.target) < count)
        return self.model_copy(update={"devices": (*self.devices[:count], *more), "links": links})

    def link_between(self, source: int, target: int) -> Link:
        """The link from device ``source`` to device ``target``."""
        for link in self.links:
            if (link.source, link.target) == (source, target):
                return link
        return self.link
