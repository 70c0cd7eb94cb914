"""What only ranks can find out: calls per second, copies to the host, and every path between any two devices."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from partkit.data.examination import Check, ExaminedLink, LinkPath
from partkit.data.job import LinksJob
from partkit.data.orders import ExamineDevice, ExamineLinks
from partkit.data.replies import DeviceExamined, PathTimes
from partkit.data.units import format_bytes, format_count, format_seconds, significant
from partkit.errors import PartkitError
from partkit.machine.devices import num_cores
from partkit.ranks.group import RankGroup
from partkit.runs.doctor.looked_at import LookedAt, Writer
from partkit.runs.machine_cluster import cluster_of, sized
from partkit.transport.probe import fit_link

_DIGITS = 6
_FEW_CALLS = 50_000
"""Fewer launches per second than this leave fast GPUs waiting in eager mode."""
_SLOW_SHARE = 0.6
"""Of the fastest link of its path: a slower one is told."""
_TIMEOUT_S = 300.0

_WRITE = Writer("ranks")


def ranks(seen: LookedAt) -> Iterator[Check]:
    """Start a rank on each GPU, or two on the CPU; a fault of theirs is a check that is broken."""
    if seen.is_broken:
        yield _WRITE.warning("ranks", "not started, since something that they need is broken", "mend that first")
        return
    count = 2 if seen.kind == "cpu" else int(seen.imports.torch["num_devices"])
    job = LinksJob(device=seen.kind, devices=tuple(range(count)), threads=seen.threads, timeout_s=_TIMEOUT_S)
    try:
        with RankGroup(job) as group:
            examined = group.call(ExamineDevice())
            yield from _devices(seen, examined)
            yield _WRITE.ok("start", f"{count} ranks on {seen.kind}")
            if count > 1:
                yield from _paths(seen, group, examined)
    except PartkitError as error:
        yield _WRITE.broken("start", f"ranks on {seen.kind}: {error.message}", error.hint)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        yield _WRITE.broken("start", f"no rank could be started: {error.strerror or error}{where}")


def _devices(seen: LookedAt, examined: Sequence[DeviceExamined]) -> Iterator[Check]:
    seen.devices = [reply.device for reply in examined[: 1 if seen.kind == "cpu" else None]]
    for device in seen.devices:
        where = "CPU" if device.type == "cpu" else f"cuda:{device.index}"
        calls = int(significant(device.calls_per_s or 0.0, 3))
        words = f"{format_count(calls)} a second from one thread"
        if device.type == "cuda" and calls < _FEW_CALLS:
            yield _WRITE.warning(
                f"{where} launches", f"{words}: eager mode is held up by the host", "CUDA graphs, which partkit uses"
            )
        else:
            yield _WRITE.ok(f"{where} {'calls' if device.type == 'cpu' else 'launches'}", words)
        if device.to_device_bytes_per_s is None or device.from_device_bytes_per_s is None:
            continue
        words = (
            f"{format_bytes(device.to_device_bytes_per_s)}/s from pinned host memory, "
            f"{format_bytes(device.from_device_bytes_per_s)}/s to it"
        )
        engines = "" if device.copy_engines is None else f", {device.copy_engines} copy engines"
        pcie = device.pcie
        now = "" if pcie is None or pcie.generation is None else f", PCI Express {pcie.generation} x{pcie.width}"
        yield _WRITE.ok(f"{where} copies", words + engines + now)
        for holder in device.holders:
            yield _WRITE.warning(
                f"{where} memory",
                f"process {holder.pid} ({holder.name}) holds {format_bytes(holder.num_bytes)}",
                "plans count what is free when they are made: plan again when it has gone, or keep it as it is",
            )


def _paths(seen: LookedAt, group: RankGroup[LinksJob], examined: Sequence[DeviceExamined]) -> Iterator[Check]:
    devices = group.job.devices
    peers = {(devices[rank], peer) for rank, reply in enumerate(examined) for peer in reply.peers}
    every_pair_reaches = seen.kind == "cuda" and len(peers) == len(devices) * (len(devices) - 1)
    if seen.kind == "cuda":
        yield _peer_access(peers, devices)
    own: LinkPath = "gloo" if seen.kind == "cpu" else "copies"
    paths: list[LinkPath] = [own]
    if seen.kind == "cuda":
        paths += ["nccl"] if seen.imports.torch.get("nccl") else []
        paths += ["host"] if every_pair_reaches and os.environ.get("NCCL_P2P_DISABLE", "0") in ("", "0") else []
    for path in paths:
        told = [link for reply in group.call(ExamineLinks(path=path)) for link in reply.links]
        links = _examined(path, told, devices, peers if seen.kind == "cuda" else None)
        seen.links += links
        yield from path_checks(path, links)
        if path == own:
            gpus = [] if seen.kind == "cpu" else [(each.name, each.memory_bytes) for each in seen.devices]
            one_way_s = {link.ranks: link.one_way_s for link in reversed(told)}
            measured = cluster_of(gpus, one_way_s, threads=seen.threads)
            count = max(2, num_cores() // seen.threads) if seen.kind == "cpu" else len(gpus)
            seen.cluster = sized(measured, count)


def _peer_access(peers: set[tuple[int, int]], devices: Sequence[int]) -> Check:
    lacking = [(a, b) for a in devices for b in devices if a < b and (a, b) not in peers]
    if not lacking:
        return _WRITE.ok("peer access", "between every two GPUs")
    pairs = ", ".join(f"{a} and {b}" for a, b in lacking[:4]) + (" and others" if len(lacking) > 4 else "")
    return _WRITE.warning(
        "peer access",
        f"not between GPUs {pairs}: what is sent there goes by way of host memory",
        "prefer neighbours that reach each other (--devices), or see the machine's PCI Express access control (ACS)",
    )


def _examined(
    path: LinkPath, told: Sequence[PathTimes], devices: Sequence[int], peers: set[tuple[int, int]] | None
) -> list[ExaminedLink]:
    """One link for each pair: its times as the lower end has them, the changed bytes of both."""
    changed: dict[tuple[int, int], int] = {}
    first: dict[tuple[int, int], PathTimes] = {}
    for link in told:
        changed[link.ranks] = changed.get(link.ranks, 0) + link.changed_bytes
        first.setdefault(link.ranks, link)
    links = []
    for pair, link in first.items():
        source, target = (devices[rank] for rank in pair)
        latency_s, bytes_per_s = (significant(figure, _DIGITS) for figure in fit_link(link.one_way_s))
        links.append(
            ExaminedLink(
                source=source,
                target=target,
                over=path,
                peer_access=None if peers is None else (source, target) in peers,
                latency_s=latency_s,
                bytes_per_s=bytes_per_s,
                verified_bytes=2 * link.verified_bytes,
                changed_bytes=changed[pair],
            )
        )
    return links


_WHAT_TO_DO: Mapping[str, str] = {
    "gloo": "memory or the network within this host is at fault: test the memory",
    "copies": "run with NCCL_P2P_DISABLE=1, which keeps devices out of each other's memory, and see the firmware's "
    "settings of ACS and IOMMU",
    "nccl": "run with NCCL_P2P_DISABLE=1, and use the executor pipeline",
    "host": "host memory or the way to it is at fault: test the memory, and use other GPUs",
}


def path_checks(path: LinkPath, links: Sequence[ExaminedLink]) -> Iterator[Check]:
    """Changed bytes first; then a link that is much slower than the others over the same path; else one line."""
    fastest = max((link.bytes_per_s for link in links), default=0.0)
    wrong = [link for link in links if link.changed_bytes]
    for link in wrong:
        yield _WRITE.broken(
            f"{path} {link.source}-{link.target}",
            f"{format_count(link.changed_bytes)} of {format_count(link.verified_bytes)} bytes sent between devices "
            f"{link.source} and {link.target} over {path} came back changed",
            _WHAT_TO_DO[path],
        )
    for link in links:
        if link.bytes_per_s < _SLOW_SHARE * fastest:
            yield _WRITE.warning(
                f"{path} {link.source}-{link.target}",
                f"{format_bytes(link.bytes_per_s)}/s, where the fastest pair has {format_bytes(fastest)}/s",
                "the planner knows: give it this cluster, or put stages that send much elsewhere",
            )
    if links and not wrong:
        slowest = min(link.bytes_per_s for link in links)
        latency = max(link.latency_s for link in links)
        rates = f"{format_bytes(slowest)}/s" + ("" if slowest == fastest else f" to {format_bytes(fastest)}/s")
        yield _WRITE.ok(
            path,
            f"{rates}, latency up to {format_seconds(latency)}; {format_bytes(links[0].verified_bytes)} per pair "
            "came as they were sent",
        )
