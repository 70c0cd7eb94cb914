"""Built-in clusters by name: machines to plan for without having them at hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from partkit.data.cluster import Cluster, Device, Link, PairLink
from partkit.errors import UsageError


@dataclass(frozen=True)
class _Box:
    """GPUs of one kind and the link between any two in a host. Bandwidths are nominal, less an assumed overhead."""

    link: Link
    memory_bytes: int
    fanout: Literal["each", "once"]
    citation: str


@dataclass(frozen=True)
class _Machine:
    """One host with some number of like GPUs, or several of them on a slower network."""

    box: _Box
    per_host: int
    num_hosts: int = 1
    between: Link | None = None
    """The link between two GPUs of different hosts."""
    between_citation: str = ""
    note: str = ""

    def cluster(self, name: str) -> Cluster:
        """The cluster, host after host; the default link is that between hosts, where there are several."""
        box, count = self.box, self.per_host * self.num_hosts
        devices = tuple(Device(name=f"gpu{i}", type="cuda", memory_bytes=box.memory_bytes) for i in range(count))
        near = tuple(
            PairLink(source=a, target=b, bytes_per_s=box.link.bytes_per_s, latency_s=box.link.latency_s)
            for a in range(count)
            for b in range(count)
            if self.between is not None and a != b and a // self.per_host == b // self.per_host
        )
        return Cluster(
            name=name,
            devices=devices,
            link=self.between or box.link,
            links=near,
            overlap=True,
            fanout=box.fanout,
            citation="; ".join(text for text in (self.note, box.citation, self.between_citation) if text),
        )


_PCIE_1 = _Box(
    link=Link(bytes_per_s=3.0e9, latency_s=2.0e-5),
    memory_bytes=24 * 2**30,
    fanout="once",  # no peer access: values are staged through host memory
    citation="PCI Express 1.1 x16, nominal: 16 lanes of 2.5 GT/s with 8b/10b coding, 4 GB/s each way; assumed: 3 GB/s "
    "after packet overhead, 20 us latency, 24 GiB of memory",
)
_PCIE_4 = _Box(
    link=Link(bytes_per_s=2.5e10, latency_s=1.0e-5),
    memory_bytes=24 * 2**30,
    fanout="once",
    citation="PCI Express 4.0 x16, nominal: 16 lanes of 16 GT/s with 128b/130b coding, 31.5 GB/s each way; assumed: "
    "25 GB/s after packet overhead, 10 us latency, 24 GiB of memory",
)
_NVLINK = _Box(
    link=Link(bytes_per_s=3.6e11, latency_s=5.0e-6),
    memory_bytes=80 * 10**9,
    fanout="each",
    citation="NVIDIA H100 SXM5, nominal: NVLink 900 GB/s both ways together, so 450 GB/s each way, and 80 GB; "
    "assumed: 80% of that bandwidth for copies, 5 us latency",
)
_NVLINK_3 = _Box(
    link=Link(bytes_per_s=2.4e11, latency_s=5.0e-6),
    memory_bytes=80 * 10**9,
    fanout="each",
    citation="NVIDIA A100 80GB SXM4, nominal: NVLink 600 GB/s both ways together, so 300 GB/s each way, and 80 GB; "
    "assumed: 80% of that bandwidth for copies, 5 us latency",
)
_NVLINK_H200 = _Box(
    link=_NVLINK.link,
    memory_bytes=141 * 10**9,
    fanout="each",
    citation="NVIDIA H200 SXM5, nominal: NVLink 900 GB/s both ways together, so 450 GB/s each way, and 141 GB; "
    "assumed: 80% of that bandwidth for copies, 5 us latency",
)
_NDR = Link(bytes_per_s=4.0e10, latency_s=1.0e-5)
_NDR_CITATION = (
    "between hosts InfiniBand NDR, an adapter for each GPU, nominal: 400 Gbit/s, 50 GB/s each way; assumed: 80% of "
    "that, 10 us latency"
)
_ETHERNET_25 = Link(bytes_per_s=2.8e9, latency_s=4.0e-5)
_ETHERNET_25_CITATION = (
    "between hosts Ethernet, nominal: 25 Gbit/s, 3.1 GB/s each way; assumed: 90% of that over TCP for one pair at a "
    "time, 40 us latency"
)
_BUILTIN: dict[str, _Machine] = {
    "4x-pcie-gen1": _Machine(_PCIE_1, 4, note="the reference machine (design/reference.md): no peer access"),
    "2x-pcie-gen4": _Machine(_PCIE_4, 2),
    "4x-pcie-gen4": _Machine(_PCIE_4, 4),
    "8x-pcie-gen4": _Machine(_PCIE_4, 8),
    "2x-nvlink": _Machine(_NVLINK, 2),
    "4x-nvlink": _Machine(_NVLINK, 4),
    "8x-nvlink": _Machine(_NVLINK, 8),
    "8x-a100": _Machine(_NVLINK_3, 8),
    "8x-h200": _Machine(_NVLINK_H200, 8),
    "2x4-pcie-gen4": _Machine(_PCIE_4, 4, num_hosts=2, between=_ETHERNET_25, between_citation=_ETHERNET_25_CITATION),
    "2x8-nvlink": _Machine(_NVLINK, 8, num_hosts=2, between=_NDR, between_citation=_NDR_CITATION),
    "4x8-nvlink": _Machine(_NVLINK, 8, num_hosts=4, between=_NDR, between_citation=_NDR_CITATION),
}


def builtin_cluster(name: str) -> Cluster:
    """The cluster of that name. Raises :class:`UsageError` that lists the names.

    >>> len(builtin_cluster("4x-pcie-gen1").devices)
    4
    """
    if name not in _BUILTIN:
        raise UsageError(
            f"there is no cluster {name!r}", hint=f"give a cluster file or one of {', '.join(builtin_cluster_names())}"
        )
    return _BUILTIN[name].cluster(name)


def load_cluster(text: str) -> Cluster:
    """The cluster in a JSON file, or the built-in one of that name; ``TEXT:N`` has N of its devices, like its first.

    Raises :class:`UsageError` for an unknown name, and for more devices of a cluster whose devices differ;
    :class:`FormatError` for a file that is no cluster.

    >>> len(load_cluster("2x-nvlink:5").devices)
    5
    """
    base, count = split_count(text)
    if count is None:
        return _load(base)
    cluster = _load(base)
    kinds = {device.model_copy(update={"name": ""}) for device in cluster.devices}
    if count > len(cluster.devices) and len(kinds) > 1:
        raise UsageError(
            f"--cluster {text} asks for {count} devices, and the {len(cluster.devices)} of {base} differ: nothing says "
            "what another one would be",
            hint="add it to a cluster file",
        )
    return cluster.with_devices(count).model_copy(update={"name": f"{cluster.name}:{count}"})


def split_count(text: str) -> tuple[str, int | None]:
    """A cluster as ``--cluster`` names it, and the number of devices asked of it: ``2x-nvlink:5`` has 5."""
    base, _, count = text.rpartition(":")
    if base and count.isdecimal() and int(count) > 0 and not Path(text).is_file():
        return base, int(count)
    return text, None


def _load(text: str) -> Cluster:
    return Cluster.load(text) if text.endswith(".json") or "/" in text else builtin_cluster(text)


def builtin_cluster_names() -> tuple[str, ...]:
    """Names that :func:`builtin_cluster` knows."""
    return tuple(_BUILTIN)
