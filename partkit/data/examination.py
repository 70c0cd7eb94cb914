"""What ``partkit doctor`` found of a machine: checks by name, devices, links, and what to do about it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from partkit.data.document import Document, Measured, Record

Status = Literal["ok", "warning", "broken"]
"""ok: as it should be. warning: works, but slower or less than it could. broken: something partkit does will fail."""
LinkPath = Literal["gloo", "copies", "nccl", "host"]
"""gloo: sockets, between CPUs. copies: copy engines, what a pipeline uses on one host. nccl: its kernels.
host: copies by way of host memory, what is left where devices cannot reach each other."""


class Check(Record):
    """One thing that was looked at."""

    group: str
    """What it belongs to: packages, folders, host, network, gpus, ranks."""
    name: str
    status: Status = "ok"
    finding: str
    advice: str | None = None
    """What to do, where something is to be done."""


class Finding(Record):
    """A check that is not ok, for programs that read only those."""

    severity: Literal["warning", "broken"]
    what: str
    hint: str | None = None


class Holder(Record):
    """Another process that holds memory of a GPU."""

    pid: int
    name: str
    num_bytes: int


class PcieLink(Record):
    """A GPU's PCI Express link: generation and lanes, as it was while copying, and the most that each side can do."""

    generation: int | None = None
    width: int | None = None
    slot_generation: int | None = None
    """The most that card and slot can do together."""
    slot_width: int | None = None
    card_generation: int | None = None
    """The most that the card can do in the best slot."""


class ExaminedDevice(Record):
    """A device as one rank on it saw it."""

    index: int
    type: Literal["cpu", "cuda"]
    name: str
    memory_bytes: int | None = None
    free_bytes: int | None = None
    holders: tuple[Holder, ...] = ()
    calls_per_s: Measured | None = None
    """Smallest operations that one host thread calls (CPU) or launches (CUDA) in a second, in eager mode."""
    copy_engines: int | None = None
    to_device_bytes_per_s: Measured | None = None
    """From pinned host memory."""
    from_device_bytes_per_s: Measured | None = None
    pcie: PcieLink | None = None
    nvlinks: int | None = None
    """NVLink connections that are up."""


class ExaminedLink(Record):
    """One way of sending between two devices, there and back halved."""

    source: int
    target: int
    over: LinkPath
    peer_access: bool | None = None
    """Whether the devices can reach each other's memory; None on the CPU."""
    latency_s: Measured
    bytes_per_s: Measured
    verified_bytes: int
    """Random bytes that were compared after they came."""
    changed_bytes: int = Field(ge=0)
    """Of those, the ones that came otherwise than they were sent."""


class Examination(Document):
    """A machine as ``partkit doctor`` found it."""

    schema_version: Literal[1] = 1
    kind: Literal["doctor"] = "doctor"
    ok: bool
    """False where something is broken."""
    advice: str = ""
    """One paragraph: what is broken, what is slow, and what to do first."""
    findings: tuple[Finding, ...] = ()
    checks: tuple[Check, ...] = ()
    devices: tuple[ExaminedDevice, ...] = ()
    links: tuple[ExaminedLink, ...] = ()
    environment: dict[str, Any] = Field(default_factory=dict)
