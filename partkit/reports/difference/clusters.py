"""What became of a cluster."""

from __future__ import annotations

from partkit.data.cluster import Cluster
from partkit.data.units import format_bytes, format_seconds
from partkit.reports.difference.told import Told
from partkit.reports.difference.walk import changes_between


def tell(before: Cluster, after: Cluster, _: tuple[str, str]) -> Told:
    """Devices, and the link that holds where no pair has its own."""
    changes = tuple(changes_between(before.to_data(), after.to_data(), "", skip=("provenance",)))
    counts = len(before.devices), len(after.devices)
    number = f"{counts[1]} devices" if counts[0] == counts[1] else f"{counts[1]} devices instead of {counts[0]}"
    links = [
        f"{format_bytes(each.link.bytes_per_s)}/s with {format_seconds(each.link.latency_s)}"
        for each in (before, after)
    ]
    link = f"links of {links[1]}" if links[0] == links[1] else f"links of {links[1]} instead of {links[0]}"
    return Told(f"{number}, {link}.", changes)
