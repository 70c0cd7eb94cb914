"""Comparisons made at different times as one: all their rows, where model and machine are the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from partkit.data.result import Comparison, Row, Verdict
from partkit.errors import MismatchError
from partkit.runs.verdict import conclude

_MACHINE = ("host", "cpu", "cores", "device", "threads_per_rank", "gpus", "driver")
"""Entries of an environment that must agree for figures to be set side by side."""
_CIRCUMSTANCES = ("versions", "nccl", "nccl_settings", "streams", "quick")
"""Entries of the environment that may differ between comparisons; the result then says so."""


def join_comparisons(
    comparisons: Sequence[Comparison], names: Sequence[str], *, allow_mixed: bool = False
) -> Comparison:
    """All rows in one comparison; ``names`` identify the comparisons and mark rows of the same executor.

    Raises :class:`MismatchError` where models, numbers of devices or machines differ, unless ``allow_mixed``: then
    the result says what is mixed and names no best executor.
    """
    mixed = _differences(comparisons, names)
    if mixed and not allow_mixed:
        raise MismatchError(
            f"these comparisons cannot be set side by side: {'; '.join(mixed)}",
            hint="join those of one model and machine, or add --allow-mixed",
        )
    rows = _named_rows(comparisons, names)
    first = comparisons[0]
    return first.model_copy(
        update={
            "valid": all(comparison.valid for comparison in comparisons),
            "reasons": tuple(
                f"{name}: {reason}"
                for comparison, name in zip(comparisons, names, strict=True)
                for reason in comparison.reasons
            ),
            "rows": rows,
            "verdict": _mixed_verdict() if mixed else conclude(rows, first.devices),
            "warnings": (*mixed, *_told_once(comparisons), *_changed(comparisons, names)),
            "environment": {
                "joined": {name: comparison.environment for comparison, name in zip(comparisons, names, strict=True)}
            },
        }
    )


def _differences(comparisons: Sequence[Comparison], names: Sequence[str]) -> list[str]:
    """Why figures of the comparisons cannot be set side by side."""
    told = _unlike("model", [_model(comparison) for comparison in comparisons], names)
    told += _unlike("devices", [str(comparison.devices) for comparison in comparisons], names)
    for key in _MACHINE:
        told += _unlike(key, [str(comparison.environment.get(key)) for comparison in comparisons], names)
    return told


def _unlike(what: str, values: Sequence[str], names: Sequence[str]) -> list[str]:
    if len(set(values)) == 1:
        return []
    return [f"{what} differs: " + ", ".join(f"{value} in {name}" for value, name in zip(values, names, strict=True))]


def _model(comparison: Comparison) -> str:
    model = comparison.model
    structure = (model.structure_sha256 or "unknown structure")[:12]
    return " ".join([model.source, model.dtype, *(str(spec) for spec in model.inputs), f"seed {model.seed}", structure])


def _named_rows(comparisons: Sequence[Comparison], names: Sequence[str]) -> tuple[Row, ...]:
    told = [row.executor for comparison in comparisons for row in comparison.rows]
    return tuple(
        row if told.count(row.executor) == 1 else row.model_copy(update={"executor": f"{row.executor} ({name})"})
        for comparison, name in zip(comparisons, names, strict=True)
        for row in comparison.rows
    )


def _told_once(comparisons: Sequence[Comparison]) -> list[str]:
    return list(dict.fromkeys(warning for comparison in comparisons for warning in comparison.warnings))


def _changed(comparisons: Sequence[Comparison], names: Sequence[str]) -> list[str]:
    environments: list[dict[str, Any]] = [comparison.environment for comparison in comparisons]
    told = ["joined from runs made at different times: rows of different runs did not take turns"]
    for key in _CIRCUMSTANCES:
        told += _unlike(key, [str(environment.get(key)) for environment in environments], names)
    return told


def _mixed_verdict() -> Verdict:
    return Verdict(text="Rows of different models or machines: none is named the best.")
