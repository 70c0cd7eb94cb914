"""The sheet of each kind of document: one kind per file."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from partkit.data.document import Document
from partkit.reports.sheet import Sheet

SHEETS = {
    "profile": "partkit.reports.sheets.profile:profile_sheet",
    "cluster": "partkit.reports.sheets.cluster:cluster_sheet",
    "plan": "partkit.reports.sheets.plan:plan_sheet",
    "run": "partkit.reports.sheets.run:run_sheet",
    "comparison": "partkit.reports.sheets.comparison:comparison_sheet",
    "difference": "partkit.reports.sheets.difference:difference_sheet",
    "doctor": "partkit.reports.sheets.examination:examination_sheet",
    "calibration": "partkit.reports.sheets.calibration:calibration_sheet",
    "simulation": "partkit.reports.sheets.simulation:simulation_sheet",
    "advice": "partkit.reports.sheets.advice:advice_sheet",
}


def sheet_of(document: Document) -> Sheet:
    """The tables and sentences that show ``document``."""
    kind = type(document).model_fields["kind"].default
    module, _, name = SHEETS[kind].partition(":")
    builder: Callable[[Document], Sheet] = getattr(import_module(module), name)
    return builder(document)
