"""Built-in clusters by name: machines to plan for without having them at hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from partkit.data.cluster import Cluster, Device, Link
from partkit.errors import UsageError


@dataclass(frozen=True)
class _Box:
    """A machine with some number of like GPUs. Bandwidths are nominal, less an assumed overhead."""

    link: Link
    memory_bytes: int
    fanout: Literal["each", "once"]
    citation: str

    def cluster(self, name: str, count: int) -> Cluster:
        """The cluster of ``count`` of these GPUs."""
        devices = tuple(Device(name=f"gpu{i}", type="cuda", memory_bytes=self.memory_bytes) for i in range(count))
        return Cluster(
            name=name, devices=devices, link=self.link, overlap=True, fanout=self.fanout, citation=self.citation
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
_BUILTIN: dict[str, tuple[_Box, int]] = {
    "4x-pcie-gen1": (_PCIE_1, 4),
    "2x-pcie-gen4": (_PCIE_4, 2),
    "4x-pcie-gen4": (_PCIE_4, 4),
    "8x-pcie-gen4": (_PCIE_4, 8),
    "2x-nvlink": (_NVLINK, 2),
    "4x-nvlink": (_NVLINK, 4),
    "8x-nvlink": (_NVLINK, 8),
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
    box, count = _BUILTIN[name]
    return box.cluster(name, count)


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
