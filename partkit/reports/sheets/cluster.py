"""What a cluster shows: its devices and links."""

from __future__ import annotations

from partkit.data.cluster import Cluster, Link
from partkit.data.units import format_bytes, format_seconds
from partkit.reports.sheet import Cell, Column, Sheet, Table, text_cell

_DEVICES = (
    Column("device", "device"),
    Column("name", "name", is_number=False),
    Column("type", "type", is_number=False),
    Column("memory", "memory_bytes"),
    Column("speed", "speed"),
    Column("threads", "threads"),
)
_LINKS = (
    Column("from", "source"),
    Column("to", "target"),
    Column("rate", "bytes_per_s"),
    Column("latency", "latency_s"),
)


def cluster_sheet(cluster: Cluster) -> Sheet:
    """A row per device, then the links that differ from the usual one."""
    devices = tuple(
        (
            Cell(str(index), index),
            text_cell(device.name),
            text_cell(device.type),
            Cell("–" if device.memory_bytes is None else format_bytes(device.memory_bytes), device.memory_bytes),
            Cell(f"{device.speed:.3g}", device.speed),
            Cell("" if device.threads is None else str(device.threads), device.threads),
        )
        for index, device in enumerate(cluster.devices)
    )
    links = tuple(
        (Cell(str(link.source), link.source), Cell(str(link.target), link.target), *_link(link))
        for link in cluster.links
    )
    rate, latency = _link(cluster.link)
    notes = [
        f"{'other links' if links else 'every link'}: {rate.text}, latency {latency.text}",
        f"sending {'overlaps' if cluster.overlap else 'does not overlap'} computing; "
        f"a value read on several stages is sent {'to each' if cluster.fanout == 'each' else 'once'}",
    ]
    if cluster.citation:
        notes.append(f"source: {cluster.citation}")
    tables = (Table(_DEVICES, devices), *((Table(_LINKS, links),) if links else ()))
    return Sheet(tables=tables, heading=cluster.name, notes=tuple(notes))


def _link(link: Link) -> tuple[Cell, Cell]:
    return (
        Cell(f"{format_bytes(link.bytes_per_s)}/s", link.bytes_per_s),
        Cell(format_seconds(link.latency_s), link.latency_s),
    )
