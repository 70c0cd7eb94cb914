"""Does ``partkit advise`` name the way that ``partkit compare`` measures as best?

    PYTHONPATH=.:cli python benchmarks/prediction/advise.py --out results [--device cpu] [--only bert-tiny]

Takes the options and the results of ``main.py``, and makes those that are missing. Writes ``advise.md``.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.prediction.main import Measured, _options, measured_cases
from benchmarks.side_by_side import Bench
from partkit.data.result import Row
from partkit.planners.advice.advise import WAY_OF_EXECUTOR


def main() -> None:
    options = _options()
    text = table(measured_cases(Bench(options.out, options.limit), options))
    (options.out / "advise.md").write_text(text, encoding="utf-8")
    print(text)


def table(results: Sequence[Measured]) -> str:
    """A row per case; a tie is a way whose interval overlaps that of the best."""
    lines = ["| case | advised | measured best | samples/s of both | agrees |", "|---|---|---|---|---|"]
    agreed = tied = 0
    for result in results:
        rows = [row for row in result.comparison.rows if row.status == "ok" and row.samples_per_s]
        best = max(rows, key=lambda row: row.samples_per_s or 0.0)
        advised = result.advice["measured"].best
        own = max(
            (row for row in rows if WAY_OF_EXECUTOR[row.executor] == advised),
            key=lambda row: row.samples_per_s or 0.0,
            default=None,
        )
        verdict = "no"
        if WAY_OF_EXECUTOR[best.executor] == advised:
            agreed, verdict = agreed + 1, "yes"
        elif own is not None and _overlap(own, best):
            tied, verdict = tied + 1, "tie"
        figures = "" if own is None else f"{own.samples_per_s:.4g} and {best.samples_per_s:.4g}"
        lines.append(f"| {result.case.name} | {advised} | {best.executor} | {figures} | {verdict} |")
    lines += ["", f"{agreed} of {len(results)} agree, {tied} more are ties within the measured intervals."]
    return "\n".join(lines) + "\n"


def _overlap(one: Row, other: Row) -> bool:
    if one.ci95 is None or other.ci95 is None:
        return False
    return one.ci95[0] <= other.ci95[1] and other.ci95[0] <= one.ci95[1]


if __name__ == "__main__":
    main()
