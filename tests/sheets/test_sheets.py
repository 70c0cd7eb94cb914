from __future__ import annotations

from pathlib import Path

import pytest

from partkit.files import DOCUMENT_BY_KIND, load_document
from partkit.plan import NodeTimes
from partkit.sheets import SHEETS, sheet_of

GOLDEN = Path(__file__).parent.parent / "golden"


def _load(kind, **update):
    return load_document(GOLDEN / f"{kind}.v1.json").model_copy(update=update)


def test_every_kind_of_document_has_a_sheet():
    assert set(SHEETS) == set(DOCUMENT_BY_KIND)


def test_a_plan_proved_optimal_says_so():
    plan = _load("plan")
    optimal = plan.model_copy(update={"bound": plan.bound.model_copy(update={"gap": 0.0, "optimal": True})})
    assert sheet_of(optimal).notes[0] == "bottleneck stage 1 (407 µs) · lower bound 402 µs · proved the best possible"


def test_a_plan_without_bound_claims_none():
    plan = _load("plan")
    unbounded = plan.model_copy(update={"bound": plan.bound.model_copy(update={"period_s": 0.0})})
    assert sheet_of(unbounded).notes[0] == "bottleneck stage 1 (407 µs)"


def test_a_plan_edited_by_hand_or_not_contiguous_is_labelled():
    assert sheet_of(_load("plan", edited=True, contiguous=False)).notes[2:] == (
        "stages are not contiguous in any one order of the nodes: no executor can run them",
        "edited by hand",
    )


def test_analytic_times_are_called_so_in_profiles_and_plans():
    times = NodeTimes(method="analytic", device="NVIDIA H100 SXM (nominal figures)")
    assert sheet_of(_load("plan", node_times=times)).notes[2] == (
        "times are analytic, of NVIDIA H100 SXM (nominal figures): computed from FLOPs and bytes, not measured"
    )
    assert (
        sheet_of(_load("profile", method="analytic"))
        .notes[0]
        .endswith("; times are analytic: computed from FLOPs and bytes, not measured")
    )


def test_a_parameter_that_several_nodes_share_counts_once_in_a_block():
    rows = sheet_of(_load("profile")).tables[0].rows
    assert [(row[0].value, row[2].value) for row in rows] == [
        ("bert.embeddings", 10817536),
        ("bert.encoder.layer.0", 65536),
        ("bert.encoder.layer.1", 65536),
        ("cls.predictions", 10817536),
    ]


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (True, "outputs agree with the unsplit model's: largest difference 2.5e-06, tolerance 0.0001"),
        (False, "outputs DIFFER from the unsplit model's: largest difference 2.5e-06, tolerance 0.0001"),
        (None, "outputs not checked"),
    ],
)
def test_a_run_says_whether_its_outputs_were_checked(passed, text):
    run = _load("run")
    assert text in sheet_of(run.model_copy(update={"check": run.check.model_copy(update={"passed": passed})})).notes


def test_a_comparison_gives_each_row_s_reason_before_its_validity():
    assert sheet_of(_load("comparison")).notes[:3] == (
        "fsdp invalid: outputs differ by 0.3, tolerance 0.0001",
        "deepspeed unsupported: deepspeed is not installed",
        "INVALID: fsdp's outputs differ",
    )


def test_a_comparison_s_notes_and_warnings_stand_before_its_validity():
    comparison = _load("comparison", warnings=("quick",))
    rows = (comparison.rows[0].model_copy(update={"note": "groups of 8"}), *comparison.rows[1:])
    notes = sheet_of(comparison.model_copy(update={"rows": rows})).notes
    assert notes[2:4] == (f"{rows[0].executor}: groups of 8", "warning: quick")
    assert notes[4].startswith("INVALID")
