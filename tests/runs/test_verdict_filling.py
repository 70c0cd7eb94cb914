"""A comparison's rows and verdict say lanes and microbatches, where some executor has them."""

from __future__ import annotations

from partkit.data.model import ModelSpec
from partkit.data.result import Comparison, Row
from partkit.reports.sheets.comparison import comparison_sheet
from partkit.runs.verdict import conclude


def row(executor: str, rate: float, lanes: int) -> Row:
    return Row(executor=executor, status="ok", samples_per_s=rate, peak_bytes=(1,), lanes=lanes, microbatch=8)


def test_rows_and_verdict_tell_what_filled_the_devices() -> None:
    rows = (row("pipeline", 400.0, 4), row("single", 100.0, 1))
    verdict = conclude(rows, 2)
    assert "pipeline is fastest with 400 samples/s (4 lanes, 8 items as one)" in verdict.text
    told = Comparison(valid=True, model=ModelSpec(), devices=2, rows=rows, verdict=verdict)
    (table,) = comparison_sheet(told).tables
    assert [column.key for column in table.columns[-2:]] == ["lanes", "microbatch"]
    assert [[cell.value for cell in cells[-2:]] for cells in table.rows] == [[4, 8], [1, 8]]
    plain = told.model_copy(
        update={"rows": tuple(each.model_copy(update={"lanes": 1, "microbatch": 1}) for each in rows)}
    )
    assert len(comparison_sheet(plain).tables[0].columns) == len(table.columns) - 2
