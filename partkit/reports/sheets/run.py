"""What a run shows: each rank's use, stage times against the prediction, and the speed."""

from __future__ import annotations

from partkit.data.result import Check, RankUse, RunResult, StageTime
from partkit.data.units import format_bytes, format_count, format_rate, format_seconds
from partkit.reports.sheet import Cell, Column, Sheet, Table, text_cell

_STAGES = (Column("stage", "stage"), Column("predicted", "predicted_s"), Column("measured", "measured_s"))
_RANKS = (
    Column("rank", "rank"),
    Column("device", "device", is_number=False),
    Column("busy", "busy"),
    Column("GPU mean", "gpu_util_mean"),
    Column("GPU max", "gpu_util_max"),
    Column("peak", "peak_bytes"),
    Column("host peak", "host_peak_bytes"),
)


def run_sheet(result: RunResult) -> Sheet:
    """A row per rank, a row per stage, then speed, latency, efficiency, the check and any warnings."""
    tables = [Table(_RANKS, tuple(_rank(rank) for rank in result.ranks))]
    if result.stages:
        tables.append(Table(_STAGES, tuple(_stage(stage) for stage in result.stages)))
    heading = f"{result.executor} · {format_count(result.items)} items of batch {result.batch}"
    notes = (_speed(result), *_efficiency(result), _check(result.check))
    warnings = tuple(f"warning: {warning}" for warning in result.warnings)
    return Sheet(tables=tuple(tables), heading=heading, notes=(*notes, *warnings))


def _rank(rank: RankUse) -> tuple[Cell, ...]:
    return (
        Cell(str(rank.rank), rank.rank),
        text_cell(rank.device),
        Cell(f"{100 * rank.busy:.0f}%", rank.busy),
        _percent(rank.gpu_util_mean),
        _percent(rank.gpu_util_max),
        Cell(format_bytes(rank.peak_bytes), rank.peak_bytes),
        Cell(format_bytes(rank.host_peak_bytes), rank.host_peak_bytes),
    )


def _stage(stage: StageTime) -> tuple[Cell, ...]:
    predicted = "–" if stage.predicted_s is None else format_seconds(stage.predicted_s)
    return (
        Cell(str(stage.index), stage.index),
        Cell(predicted, stage.predicted_s),
        Cell(format_seconds(stage.measured_s), stage.measured_s),
    )


def _percent(value: float | None) -> Cell:
    return Cell("–" if value is None else f"{value:.0f}%", value)


def _speed(result: RunResult) -> str:
    latency = result.latency_s
    return (
        f"{format_rate(result.samples_per_s)} samples/s · steady {format_rate(result.steady_samples_per_s)} · "
        f"latency p50 {format_seconds(latency.p50)}, p95 {format_seconds(latency.p95)}"
    )


def _efficiency(result: RunResult) -> tuple[str, ...]:
    parts = []
    if result.bottleneck_efficiency is not None:
        parts.append(f"the slowest stage works {100 * result.bottleneck_efficiency:.1f}% of the time")
    if result.prediction_error is not None:
        parts.append(f"prediction off by {100 * result.prediction_error:.1f}%")
    return (" · ".join(parts),) if parts else ()


def _check(check: Check) -> str:
    if check.passed is None:
        return "outputs not checked"
    found = "outputs agree with" if check.passed else "outputs DIFFER from"
    difference = "unknown" if check.max_abs_diff is None else f"{check.max_abs_diff:.2g}"
    return f"{found} the unsplit model's: largest difference {difference}, tolerance {check.tolerance:.2g}"
