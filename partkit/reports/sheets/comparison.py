"""What a comparison shows: a row per executor, whether the figures may be trusted, and what is best."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from partkit.data.result import Comparison, Row, Verdict
from partkit.data.units import format_bytes, format_rate, format_seconds
from partkit.reports.sheet import Cell, Column, Sheet, Table, text_cell

_COLUMNS = (
    Column("executor", "executor", is_number=False),
    Column("status", "status", is_number=False),
    Column("samples/s", "samples_per_s"),
    Column("95% interval", "ci95_samples_per_s"),
    Column("per rank", "per_rank_samples_per_s"),
    Column("latency p50", "latency_p50_s"),
    Column("busy", "busy"),
    Column("GPU max", "gpu_util_max_percent"),
    Column("GPU mean", "gpu_util_mean_percent"),
    Column("peak memory", "peak_bytes"),
    Column("max diff", "max_abs_diff"),
)
_FILLING = (Column("lanes", "lanes"), Column("items as one", "microbatch"))
"""Only where some executor has more than one."""


def comparison_sheet(comparison: Comparison) -> Sheet:
    """A row per executor, then reasons and notes, warnings, validity and verdict."""
    model = comparison.model
    inputs = ", ".join(str(spec) for spec in model.inputs)
    devices = f"{comparison.devices} device{'s' if comparison.devices != 1 else ''}"
    heading = " · ".join(part for part in (model.source, model.dtype, inputs, devices) if part)
    reasons = tuple(f"{row.executor} {row.status}: {row.reason}" for row in comparison.rows if row.reason)
    remarks = tuple(f"{row.executor}: {row.note}" for row in comparison.rows if row.note)
    warnings = tuple(f"warning: {text}" for text in comparison.warnings)
    notes = (*reasons, *remarks, *warnings, _validity(comparison), *_verdict(comparison.verdict))
    is_filled = any(row.lanes > 1 or row.microbatch > 1 for row in comparison.rows)
    rows = tuple((*_row(row), *(_filling(row) if is_filled else ())) for row in comparison.rows)
    table = Table((*_COLUMNS, *(_FILLING if is_filled else ())), rows)
    return Sheet(tables=(table,), heading=heading, notes=notes)


def _row(row: Row) -> tuple[Cell, ...]:
    return (
        text_cell(row.executor),
        text_cell(row.status),
        _optional(row.samples_per_s, format_rate),
        Cell(" to ".join(format_rate(end) for end in row.ci95 or ()) or "–", _joined(row.ci95 or ())),
        _optional(row.per_rank_samples_per_s, format_rate),
        _optional(row.latency_p50_s, format_seconds),
        _for_each_rank(row.busy, "{:.2f}".format),
        _for_each_rank(row.gpu_util_max, "{:.0f}".format),
        _for_each_rank(row.gpu_util_mean, "{:.0f}".format),
        _for_each_rank(row.peak_bytes, format_bytes),
        _optional(row.max_abs_diff, "{:.2g}".format),
    )


def _filling(row: Row) -> tuple[Cell, ...]:
    return (Cell(str(row.lanes), row.lanes), Cell(str(row.microbatch), row.microbatch))


def _optional(value: float | None, form: Callable[[float], str]) -> Cell:
    return Cell("–" if value is None else form(value), value)


def _for_each_rank(values: Sequence[float], form: Callable[[float], str]) -> Cell:
    """All ranks' figures, as one where they read the same."""
    texts = [form(value) for value in values]
    text = texts[0] if len(set(texts)) == 1 else ", ".join(texts)
    return Cell(text or "–", _joined(values))


def _joined(values: Sequence[float]) -> str | None:
    return " ".join(str(value) for value in values) or None


def _validity(comparison: Comparison) -> str:
    word = "VALID" if comparison.valid else "INVALID"
    return f"{word}: {'; '.join(comparison.reasons)}" if comparison.reasons else word


def _verdict(verdict: Verdict) -> tuple[str, ...]:
    best = (("throughput", verdict.throughput), ("latency", verdict.latency), ("memory per device", verdict.memory))
    named = [f"{aim}: {executor}" for aim, executor in best if executor]
    return (*((f"best for {' · '.join(named)}",) if named else ()), *((verdict.text,) if verdict.text else ()))
