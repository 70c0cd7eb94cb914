"""What became of a comparison, executor by executor."""

from __future__ import annotations

from collections.abc import Iterator

from partkit.data.result import Comparison, Row
from partkit.data.units import format_rate, format_ratio
from partkit.reports.difference.told import Told, said, unlike_models
from partkit.reports.difference.walk import changes_between

_SAID = ("warnings", "reasons")


def tell(before: Comparison, after: Comparison, names: tuple[str, str]) -> Told:
    """The best executor, then each that both have; whether intervals part says if that may be chance."""
    rows = [{row.executor: row for row in each.rows} for each in (before, after)]
    both = [name for name in rows[0] if name in rows[1]]
    data = [each.to_data() for each in (before, after)]
    for each in data:
        each["rows"] = [row for row in each["rows"] if row["executor"] in both]
    changes = tuple(changes_between(data[0], data[1], "", skip=("environment", "verdict", "reason", "note", *_SAID)))
    notes = [note for name in both for note in _row(rows[0][name], rows[1][name])]
    notes += said(before, after, _SAID, names)
    return Told(
        " ".join(filter(None, [unlike_models(before.model, after.model), _best(before, after)])),
        changes,
        only_before=tuple(name for name in rows[0] if name not in both),
        only_after=tuple(name for name in rows[1] if name not in both),
        notes=tuple(notes),
    )


def _best(before: Comparison, after: Comparison) -> str:
    best = before.verdict.throughput, after.verdict.throughput
    rates = [
        next((row.samples_per_s for row in each.rows if row.executor == name), None)
        for each, name in zip((before, after), best, strict=True)
    ]
    told = [
        f"{name} with {format_rate(rate)} samples/s" if rate else name or "none"
        for name, rate in zip(best, rates, strict=True)
    ]
    if best[0] != best[1]:
        return f"Fastest is {told[1]}, where it was {told[0]}."
    if not all(rates):
        return f"Fastest is {told[1]} in both."
    assert rates[0] is not None
    assert rates[1] is not None
    return f"Fastest is {told[1]} still, {format_ratio(rates[0], rates[1])} instead of {format_rate(rates[0])}."


def _row(before: Row, after: Row) -> Iterator[str]:
    outcomes = [f"{row.status} ({row.reason})" if row.reason else row.status for row in (before, after)]
    if outcomes[0] != outcomes[1]:
        yield f"{after.executor}: {outcomes[1]}; before: {outcomes[0]}"
    if before.note != after.note:
        yield f"{after.executor}: {after.note or 'no note'}; before: {before.note or 'no note'}"
    if before.samples_per_s and after.samples_per_s and before.ci95 and after.ci95 and before.ci95 != after.ci95:
        if before.ci95[0] <= after.ci95[1] and after.ci95[0] <= before.ci95[1]:
            yield f"{after.executor}: the intervals overlap, so that its rates may differ by chance"
        else:
            faster = "faster" if after.samples_per_s > before.samples_per_s else "slower"
            ratio = format_ratio(before.samples_per_s, after.samples_per_s)
            yield f"{after.executor} is {faster}, {ratio}: the intervals lie apart"
