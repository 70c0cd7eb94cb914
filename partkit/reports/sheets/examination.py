"""What an examination shows: its checks, the paths between devices, and the advice."""

from __future__ import annotations

from partkit.data.examination import Examination
from partkit.data.units import format_bytes, format_count, format_seconds
from partkit.reports.sheet import Cell, Column, Sheet, Table, text_cell

_CHECKS = (
    Column("status", "status", is_number=False),
    Column("check", "name", is_number=False),
    Column("finding", "finding", is_number=False, may_wrap=True),
    Column("advice", "advice", is_number=False, may_wrap=True),
)
_LINKS = (
    Column("from", "source"),
    Column("to", "target"),
    Column("path", "over", is_number=False),
    Column("rate", "bytes_per_s"),
    Column("latency", "latency_s"),
    Column("peers", "peer_access", is_number=False),
    Column("changed bytes", "changed_bytes"),
)


def examination_sheet(found: Examination) -> Sheet:
    """A row per check, what is broken first in its group's order; then a row per pair of devices and path."""
    checks = tuple(
        (
            text_cell(check.status),
            text_cell(check.name),
            text_cell(check.finding),
            Cell(check.advice or "", check.advice),
        )
        for check in found.checks
    )
    links = tuple(
        (
            Cell(str(link.source), link.source),
            Cell(str(link.target), link.target),
            text_cell(link.over),
            Cell(f"{format_bytes(link.bytes_per_s)}/s", link.bytes_per_s),
            Cell(format_seconds(link.latency_s), link.latency_s),
            Cell({True: "yes", False: "no", None: ""}[link.peer_access], link.peer_access),
            Cell(format_count(link.changed_bytes), link.changed_bytes),
        )
        for link in found.links
    )
    tables = (Table(_CHECKS, checks), *((Table(_LINKS, links),) if links else ()))
    broken = sum(finding.severity == "broken" for finding in found.findings)
    warnings = len(found.findings) - broken
    heading = f"{len(found.checks)} checks: {broken} broken, {warnings} worth a look"
    return Sheet(tables=tables, heading=heading, notes=(found.advice,) if found.advice else ())
