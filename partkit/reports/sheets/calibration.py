"""What a calibration shows: how far published figures are from what kernels take, by family and dtype."""

from __future__ import annotations

import statistics

from partkit.data.device_calibration import CalibrationPoint, DeviceCalibration
from partkit.data.units import format_count
from partkit.reports.sheet import Cell, Column, Sheet, Table, text_cell

_COLUMNS = (
    Column("operations", "family", is_number=False),
    Column("dtype", "dtype", is_number=False),
    Column("timed", "points"),
    Column("least", "least_factor"),
    Column("median", "median_factor"),
    Column("most", "most_factor"),
)


def calibration_sheet(found: DeviceCalibration) -> Sheet:
    """A row for each family and dtype: how many times longer than published figures say."""
    groups: dict[tuple[str, str], list[CalibrationPoint]] = {}
    for point in found.points:
        groups.setdefault((point.family, point.dtype), []).append(point)
    rows = []
    for (family, dtype), points in sorted(groups.items()):
        factors = [point.factor for point in points]
        spread = (min(factors), statistics.median(factors), max(factors))
        rows.append(
            (
                text_cell(family),
                text_cell(dtype),
                Cell(format_count(len(points)), len(points)),
                *(Cell(f"{figure:.2f}", figure) for figure in spread),
            )
        )
    threads = "" if found.threads is None else f", {found.threads} thread{'s' if found.threads > 1 else ''}"
    notes = [
        f"within {found.anchor} operations take {factor:.2f} times as long as alone in {dtype}"
        for dtype, factor in found.in_model.items()
    ]
    errors = sorted(map(abs, found.residuals()))
    if errors:
        ninth = errors[min(len(errors) - 1, int(0.9 * len(errors)))]
        notes.append(
            f"each point as the others tell it: off by {statistics.median(errors):.0%} in the median, nine in ten by "
            f"less than {ninth:.0%}; a whole model's errors cancel in part"
        )
    heading = f"{found.device}{threads}: times over those of published figures ({found.nominal})"
    figures = Table((Column("device", "device", is_number=False),), ((text_cell(found.device),),))
    return Sheet(tables=(Table(_COLUMNS, tuple(rows)),), heading=heading, notes=tuple(notes), figures=figures)
