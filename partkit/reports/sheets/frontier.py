"""Plans between which one must choose: a row each, best throughput first."""

from __future__ import annotations

from collections.abc import Sequence

from partkit.data.plan import Plan
from partkit.data.units import format_bytes, format_rate, format_seconds
from partkit.reports.sheet import Cell, Column, Sheet, Table

_COLUMNS = (
    Column("plan", "plan"),
    Column("stages", "stages"),
    Column("devices", "devices"),
    Column("samples/s", "samples_per_s"),
    Column("period", "period_s"),
    Column("latency", "latency_s"),
    Column("largest peak", "peak_bytes"),
)


def frontier_sheet(plans: Sequence[Plan]) -> Sheet:
    """The frontier of throughput against latency."""
    return Sheet(
        tables=(Table(_COLUMNS, tuple(_row(number, plan) for number, plan in enumerate(plans, start=1))),),
        notes=("no plan that was found is better than one of these in both throughput and latency",),
    )


def _row(number: int, plan: Plan) -> tuple[Cell, ...]:
    counts = (number, len(plan.stages), sum(len(stage.devices) for stage in plan.stages))
    peak_bytes = max(stage.peak_bytes for stage in plan.stages)
    return (
        *(Cell(str(count), count) for count in counts),
        Cell(format_rate(plan.prediction.samples_per_s), plan.prediction.samples_per_s),
        Cell(format_seconds(plan.prediction.period_s), plan.prediction.period_s),
        Cell(format_seconds(plan.prediction.latency_s), plan.prediction.latency_s),
        Cell(format_bytes(peak_bytes), peak_bytes),
    )
