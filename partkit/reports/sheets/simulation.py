"""What a simulation shows: each stage's time by cause, and the speed."""

from __future__ import annotations

from partkit.data.result import Simulation, StageIdle
from partkit.data.units import format_count, format_rate, format_seconds
from partkit.reports.sheet import Cell, Column, Sheet, Table

_STAGES = (
    Column("stage", "stage"),
    Column("computes", "busy"),
    Column("waits for input", "input"),
    Column("waits for a slot", "slot"),
    Column("sends", "send"),
)


def simulation_sheet(result: Simulation) -> Sheet:
    """A row per stage, then speed and latency."""
    latency = result.latency_s
    p99 = "" if latency.p99 is None else f", p99 {format_seconds(latency.p99)}"
    speed = (
        f"{format_rate(result.samples_per_s)} samples/s · steady {format_rate(result.steady_samples_per_s)} · "
        f"latency p50 {format_seconds(latency.p50)}, p95 {format_seconds(latency.p95)}{p99}"
    )
    heading = f"simulated {result.executor} · {format_count(result.items)} items of batch {result.batch}"
    notes = (*(f"note: {note}" for note in result.notes), *(f"warning: {warning}" for warning in result.warnings))
    return Sheet(tables=(Table(_STAGES, tuple(map(_row, result.idle))),), heading=heading, notes=(speed, *notes))


def _row(stage: StageIdle) -> tuple[Cell, ...]:
    shares = (stage.busy, stage.input, stage.slot, stage.send)
    return (Cell(str(stage.index), stage.index), *(Cell(f"{100 * share:.1f}%", share) for share in shares))
