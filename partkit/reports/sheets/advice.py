"""What advice shows: each way with its figures and how far to trust them."""

from __future__ import annotations

from partkit.data.advice import Advice, Choice
from partkit.data.units import format_bytes, format_rate, format_seconds
from partkit.reports.sheet import Cell, Column, Sheet, Table, text_cell

_COLUMNS = (
    Column("way", "way", is_number=False),
    Column("devices", "devices"),
    Column("samples/s", "samples_per_s"),
    Column("9 in 10 within", "interval", is_number=False),
    Column("latency", "latency_s"),
    Column("peak", "peak_bytes"),
    Column("fits", "fits", is_number=False),
    Column("confidence", "confidence", is_number=False),
    Column("why", "reason", is_number=False, may_wrap=True),
)


def advice_sheet(advice: Advice) -> Sheet:
    """A row per way, best first; the sentence that decides; what was left out and where confidence comes from."""
    heading = f"{advice.model.source} on {advice.devices} devices of {advice.cluster}, for {advice.objective}"
    sources = dict.fromkeys(f"{each.way}: {each.error_source}" for each in advice.choices if each.error_source)
    notes = [advice.text, *(f"{way} is left out: {why}" for way, why in advice.left_out.items()), *sources]
    if any(each.interval is None for each in advice.choices):
        notes.append("a way without an interval has no published errors for such devices and profiles")
    return Sheet(tables=(Table(_COLUMNS, tuple(map(_row, advice.choices))),), heading=heading, notes=tuple(notes))


def _row(choice: Choice) -> tuple[Cell, ...]:
    interval = None if choice.interval is None else " to ".join(map(format_rate, choice.interval))
    return (
        text_cell(choice.way),
        Cell(str(choice.devices), choice.devices),
        Cell(format_rate(choice.samples_per_s), choice.samples_per_s),
        Cell(interval or "", interval),
        Cell(format_seconds(choice.latency_s), choice.latency_s),
        Cell(format_bytes(choice.peak_bytes), choice.peak_bytes),
        Cell("yes" if choice.fits else "no", choice.fits),
        text_cell(choice.confidence),
        text_cell(choice.reason),
    )
