"""What the list of built-in clusters shows."""

from __future__ import annotations

from collections.abc import Iterable

from partkit.data.cluster import Cluster
from partkit.data.units import format_bytes
from partkit.reports.sheet import Cell, Column, Sheet, Table, text_cell

_COLUMNS = (
    Column("cluster", "name", is_number=False),
    Column("devices", "devices"),
    Column("memory", "memory_bytes"),
    Column("link", "bytes_per_s"),
    Column("slowest", "slowest_bytes_per_s"),
    Column("source", "citation", is_number=False, may_wrap=True),
)
OTHER_CLUSTERS = (
    "NAME:N has N such devices; 'partkit doctor -o cluster.json' writes this machine's own, and a file may be edited",
)


def clusters_sheet(clusters: Iterable[Cluster]) -> Sheet:
    """A row per cluster: the first two devices' link, and the slowest where there are others."""
    return Sheet(tables=(Table(_COLUMNS, tuple(map(_row, clusters))),), notes=OTHER_CLUSTERS)


def _row(cluster: Cluster) -> tuple[Cell, ...]:
    first, memory = cluster.link_between(0, 1).bytes_per_s, cluster.devices[0].memory_bytes
    slowest = min(cluster.link.bytes_per_s, *(link.bytes_per_s for link in cluster.links), first)
    return (
        text_cell(cluster.name),
        Cell(str(len(cluster.devices)), len(cluster.devices)),
        Cell("–" if memory is None else format_bytes(memory), memory),
        Cell(f"{format_bytes(first)}/s", first),
        Cell(f"{format_bytes(slowest)}/s", slowest),
        text_cell(cluster.citation),
    )
