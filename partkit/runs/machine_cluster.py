"""This machine's devices and the links between them, measured by ranks and kept in the cache."""

from __future__ import annotations

import itertools
import os
import socket
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from partkit.data.cache import find_kept, keep
from partkit.data.cluster import Cluster, Device, Link, PairLink
from partkit.data.job import DeviceType, LinksJob
from partkit.data.margin import MARGIN
from partkit.data.orders import MeasureLinks
from partkit.data.progress import Progress, silent
from partkit.data.replies import LinksMeasured
from partkit.data.units import significant
from partkit.machine.devices import host_memory_bytes, num_cores, num_cuda_devices, resolve_device
from partkit.machine.environment import package_version
from partkit.machine.memory import free_gpu_bytes
from partkit.ranks.group import RankGroup
from partkit.transport.probe import fit_link

_DIGITS = 6
"""Of a link's figures as measured; what somebody writes into a cluster file stays as it is."""


def machine_cluster(
    num_devices: int,
    *,
    device: str = "auto",
    threads: int | None = None,
    refresh: bool = False,
    margin: float = MARGIN,
    progress: Progress | None = None,
) -> Cluster:
    """This machine's devices and links, measured by a short ping-pong between ranks and kept in the cache.

    On the CPU a device is ``threads`` threads (default 1), and all share the cores. Where more CUDA devices
    are asked for than there are, the rest are taken to be like the first: such a plan is for elsewhere. A GPU's memory
    is what is free of it now, whoever has the rest, less ``margin`` (a share), which is left for a CUDA context, other
    tenants that grow and what no plan foresees.
    Raises :class:`MachineError` where CUDA is asked for and missing, and :class:`RankFailedError` when a rank ends.
    """
    kind, num_threads = resolve_device(device), threads or 1
    found = max(num_cuda_devices(), 1) if kind == "cuda" else 2
    versions = [package_version("torch"), package_version("partkit")]
    settings = {name: value for name, value in os.environ.items() if name.startswith("NCCL_")}
    request = {
        "host": socket.gethostname(),
        "device": kind,
        "devices": found,
        "threads": num_threads,
        "versions": versions,
        "settings": settings,
    }
    measured = None if refresh else find_kept(Cluster, request)
    if measured is None:
        (progress or silent)("Measuring links", 0, 1)
        measured = _measure_links(kind, found, num_threads)
        keep(measured, request)
        (progress or silent)("Measuring links", 1, 1)
    return sized(measured, num_devices, margin=margin)


def sized(measured: Cluster, num_devices: int, *, margin: float = MARGIN) -> Cluster:
    """The measured cluster with ``num_devices`` devices: GPUs with what is free of them now, CPUs with equal shares."""
    found = _sized(measured, num_devices)
    return _with_free_memory(found, margin) if measured.devices[0].type == "cuda" else found


def _measure_links(kind: DeviceType, count: int, threads: int) -> Cluster:
    job = LinksJob(device=kind, devices=tuple(range(count)), threads=threads)
    with RankGroup(job) as group:
        replies = group.call(MeasureLinks())
    # of a link both ends tell, and the last one counts; of two ranks the first
    one_way_s = _one_way_s(replies[:1] if count == 2 else replies)
    gpus = [] if kind == "cpu" else [(reply.device_name, reply.memory_bytes) for reply in replies]
    return cluster_of(gpus, one_way_s, threads=threads)


def cluster_of(
    gpus: Sequence[tuple[str, int | None]], one_way_s: Mapping[tuple[int, int], Sequence[float]], *, threads: int
) -> Cluster:
    """This machine as measured: ``gpus`` by name and memory (none: its CPU), ``one_way_s`` by pair of ranks.

    Seconds are for each of :data:`partkit.transport.probe.SIZES_BYTES`. On the CPU two ranks stand for all.
    """
    provenance: dict[str, Any] = {"host": socket.gethostname(), "threads": threads}
    links = _fit(one_way_s, len(gpus) or 2)
    typical = _typical(links)
    if not gpus:
        memory = host_memory_bytes()
        return Cluster(
            name="this machine",
            devices=(Device(name="cpu0", type="cpu", memory_bytes=memory),),
            link=typical,
            overlap=False,
            shared_cores=num_cores() / threads,
            provenance=provenance,
        )
    devices = tuple(
        Device(name=f"gpu{index}", type="cuda", memory_bytes=memory) for index, (_, memory) in enumerate(gpus)
    )
    provenance["devices"] = [name for name, _ in gpus]
    return Cluster(name="this machine", devices=devices, link=typical, links=tuple(links), provenance=provenance)


def _one_way_s(replies: Sequence[LinksMeasured]) -> dict[tuple[int, int], tuple[float, ...]]:
    """Seconds by pair of ranks, the lower one first."""
    return {link.ranks: link.one_way_s for reply in replies for link in reply.links}


def _fit(one_way_s: Mapping[tuple[int, int], Sequence[float]], count: int) -> list[PairLink]:
    links = []
    for source, target in itertools.permutations(range(count), 2):
        one_way = one_way_s[min(source, target), max(source, target)]
        latency_s, bytes_per_s = (significant(figure, _DIGITS) for figure in fit_link(one_way))
        links.append(PairLink(source=source, target=target, latency_s=latency_s, bytes_per_s=bytes_per_s))
    return links


def _typical(links: list[PairLink]) -> Link:
    """The median of the measured links; one device alone never sends, so that any link will do."""
    if not links:
        return Link(bytes_per_s=1e9, latency_s=0.0)
    return Link(
        bytes_per_s=statistics.median(link.bytes_per_s for link in links),
        latency_s=statistics.median(link.latency_s for link in links),
    )


def _sized(measured: Cluster, num_devices: int) -> Cluster:
    """The measured cluster with at least ``num_devices`` devices (on the CPU: exactly that many)."""
    first = measured.devices[0]
    if first.type == "cpu":
        share = None if first.memory_bytes is None else first.memory_bytes // num_devices
        devices = tuple(Device(name=f"cpu{index}", memory_bytes=share) for index in range(num_devices))
        return measured.model_copy(update={"devices": devices})
    missing = range(len(measured.devices), num_devices)
    if not missing:
        return measured
    assumed = tuple(first.model_copy(update={"name": f"gpu{index}"}) for index in missing)
    provenance = measured.provenance | {"assumed_devices": len(missing)}
    return measured.model_copy(update={"devices": measured.devices + assumed, "provenance": provenance})


def _with_free_memory(cluster: Cluster, margin: float) -> Cluster:
    """Each GPU with as much memory as is free of it now, less the margin; all of it where NVML does not tell."""
    found = num_cuda_devices()
    free = [free_gpu_bytes(index) if index < found else None for index in range(len(cluster.devices))]
    devices = tuple(
        device.model_copy(
            update={"memory_bytes": max(1, int((device.memory_bytes if own is None else own) * (1 - margin)))}
        )
        if device.memory_bytes is not None
        else device
        for device, own in zip(cluster.devices, free, strict=True)
    )
    provenance = cluster.provenance | {"memory_margin": margin, "free_bytes": free}
    return cluster.model_copy(update={"devices": devices, "provenance": provenance})
