"""What a run shows: each rank's use, stage times against the prediction, and the speed."""

from __future__ import annotations

from collections.abc import Sequence

from partkit.data.result import Check, RankUse, RunResult, StageTime
from partkit.data.units import format_bytes, format_count, format_rate, format_seconds
from partkit.reports.sheet import Cell, Column, Sheet, Table, Value, text_cell

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
    heading += f" of {result.source}" if result.source else ""
    heading += f" in {result.lanes} lanes" if result.lanes > 1 else ""
    heading += f", {result.microbatch} items as one" if result.microbatch > 1 else ""
    notes = (_speed(result), *_efficiency(result), _check(result.check), *_loading(result.ranks))
    warnings = tuple(f"warning: {warning}" for warning in result.warnings)
    decided = tuple(f"note: {note}" for note in result.notes)
    return Sheet(tables=tuple(tables), heading=heading, notes=(*notes, *decided, *warnings), figures=_figures(result))


def _figures(result: RunResult) -> Table:
    """What the notes say in words."""
    values: dict[str, Value] = {
        "executor": result.executor,
        "items": result.items,
        "batch": result.batch,
        "lanes": result.lanes,
        "microbatch": result.microbatch,
        "samples_per_s": result.samples_per_s,
        "steady_samples_per_s": result.steady_samples_per_s,
        "latency_p50_s": result.latency_s.p50,
        "latency_p95_s": result.latency_s.p95,
        "bottleneck_efficiency": result.bottleneck_efficiency,
        "prediction_error": result.prediction_error,
        "check_passed": result.check.passed,
        "max_abs_diff": result.check.max_abs_diff,
        "tolerance": result.check.tolerance,
        "source": result.source,
    }
    columns = tuple(Column(key, key) for key in values)
    return Table(columns, (tuple(Cell(str(value), value) for value in values.values()),))


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
    p99 = "" if latency.p99 is None else f", p99 {format_seconds(latency.p99)}"
    return (
        f"{format_rate(result.samples_per_s)} samples/s · steady {format_rate(result.steady_samples_per_s)} · "
        f"latency p50 {format_seconds(latency.p50)}, p95 {format_seconds(latency.p95)}{p99}"
    )


def _efficiency(result: RunResult) -> tuple[str, ...]:
    parts = []
    if result.bottleneck_efficiency is not None:
        parts.append(_work_of_slowest(result.bottleneck_efficiency))
    if result.prediction_error is not None:
        parts.append(f"prediction off by {100 * result.prediction_error:.1f}%")
    return (" · ".join(parts),) if parts else ()


def _work_of_slowest(efficiency: float) -> str:
    """A stage works all the time at most: where it was slower when it was timed by itself, that is said instead."""
    if efficiency <= 1:
        return f"the slowest stage works {100 * efficiency:.1f}% of the time"
    slower = f", and was {100 * (efficiency - 1):.1f}% slower when timed before the run" if efficiency > 1.005 else ""
    return f"the slowest stage works all the time{slower}"


def _loading(ranks: Sequence[RankUse]) -> tuple[str, ...]:
    """What was loaded by all ranks side by side, and how fast the slowest of them was done."""
    seconds = [rank.load_s for rank in ranks if rank.load_s]
    if not seconds:
        return ()
    num_bytes = sum({rank.rank: rank.loaded_bytes for rank in ranks}.values())
    speed = format_bytes(round(num_bytes / max(seconds)))
    return (f"{format_bytes(num_bytes)} of weights loaded in {format_seconds(max(seconds))} ({speed}/s)",)


def _check(check: Check) -> str:
    if check.passed is None:
        return "outputs not checked"
    found = "outputs agree with" if check.passed else "outputs DIFFER from"
    difference = "unknown" if check.max_abs_diff is None else f"{check.max_abs_diff:.2g}"
    cast = "" if check.cast_error is None else f"; off by {check.cast_error:.2g} from the model before its cast"
    what = "" if check.difference is None else f": {check.difference}"
    return f"{found} the unsplit model's: largest difference {difference}, tolerance {check.tolerance:.2g}{cast}{what}"
