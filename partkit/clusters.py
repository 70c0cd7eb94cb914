"""Built-in clusters by name: machines to plan for without having them at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from partkit.cluster import Cluster, Device, Link
from partkit.errors import UsageError

_GIB = 2**30

_PCIE1 = "PCIe 1.1 x16: 4 GB/s in each direction by PCI-SIG's specification, about 3 GB/s after packet overhead"
_PCIE4 = "PCIe 4.0 x16: 32 GB/s in each direction by PCI-SIG's specification, about 25 GB/s after packet overhead"
_NVLINK = (
    "NVIDIA H100/H200 datasheet: NVLink 900 GB/s in both directions together, 450 GB/s each way; 80% of that "
    "assumed for point-to-point copies"
)


def builtin_cluster(name: str) -> Cluster:
    """The cluster of that name. Raises :class:`UsageError` that lists the names.

    >>> len(builtin_cluster("4x-pcie-gen1").devices)
    4
    """
    if name not in _BUILTIN:
        raise UsageError(
            f"there is no cluster {name!r}", hint=f"give a cluster file or one of {', '.join(builtin_cluster_names())}"
        )
    return _BUILTIN[name](name)


def load_cluster(text: str) -> Cluster:
    """The cluster in a JSON file, or the built-in one of that name.

    Raises :class:`UsageError` for an unknown name and :class:`FormatError` for a file that is no cluster.
    """
    return Cluster.load(text) if text.endswith(".json") or "/" in text else builtin_cluster(text)


def builtin_cluster_names() -> tuple[str, ...]:
    """Names that :func:`builtin_cluster` knows."""
    return tuple(_BUILTIN)


def _reference(name: str) -> Cluster:
    """The machine of the published experiment: no peer access, so values are staged through host memory once."""
    return _box(
        name,
        count=4,
        memory_bytes=24 * _GIB,
        link=Link(bytes_per_s=3.0e9, latency_s=2.0e-5),
        fanout="once",
        citation=f"{_PCIE1}; latency and 24 GiB assumed: the experiment gives neither",
    )


def _pcie4(count: int) -> Callable[[str], Cluster]:
    return lambda name: _box(
        name,
        count=count,
        memory_bytes=24 * _GIB,
        link=Link(bytes_per_s=2.5e10, latency_s=1.0e-5),
        fanout="once",
        citation=f"{_PCIE4}; 10 us latency and 24 GiB assumed",
    )


def _nvlink(count: int) -> Callable[[str], Cluster]:
    return lambda name: _box(
        name,
        count=count,
        memory_bytes=80 * _GIB,
        link=Link(bytes_per_s=3.6e11, latency_s=5.0e-6),
        fanout="each",
        citation=f"{_NVLINK}; 5 us latency and 80 GiB assumed",
    )


def _box(
    name: str, *, count: int, memory_bytes: int, link: Link, fanout: Literal["each", "once"], citation: str
) -> Cluster:
    devices = tuple(Device(name=f"gpu{index}", type="cuda", memory_bytes=memory_bytes) for index in range(count))
    return Cluster(name=name, devices=devices, link=link, overlap=True, fanout=fanout, citation=citation)


_BUILTIN: dict[str, Callable[[str], Cluster]] = {
    "4x-pcie-gen1": _reference,
    "2x-pcie-gen4": _pcie4(2),
    "4x-pcie-gen4": _pcie4(4),
    "8x-pcie-gen4": _pcie4(8),
    "2x-nvlink": _nvlink(2),
    "4x-nvlink": _nvlink(4),
    "8x-nvlink": _nvlink(8),
}
