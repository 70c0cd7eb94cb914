from __future__ import annotations

from pathlib import Path

import pytest

from partkit.data.files import DOCUMENT_BY_KIND, load_document
from partkit.data.plan import MeasuredRound, MovedNodes, NodeTimes, PlannerRun
from partkit.reports.sheets import SHEETS, sheet_of

GOLDEN = Path(__file__).parent.parent.parent / "golden"


def _load(kind, **update):
    return load_document(GOLDEN / f"{kind}.v1.json").model_copy(update=update)


def test_every_kind_of_document_has_a_sheet():
    assert set(SHEETS) == set(DOCUMENT_BY_KIND)


def test_a_plan_proved_optimal_says_so():
    plan = _load("plan")
    optimal = plan.model_copy(update={"bound": plan.bound.model_copy(update={"gap": 0.0, "optimal": True})})
    assert sheet_of(optimal).notes[0] == "bottleneck stage 1 (407 µs) · lower bound 402 µs · proved the best possible"


@pytest.mark.parametrize(
    ("objective", "bound", "text"),
    [
        ("latency", {"latency_s": 5e-4}, "latency 507 µs · lower bound 500 µs · within 1.3% of the best possible"),
        ("memory", {"peak_bytes": 2e7}, "largest peak 21.8 MB · lower bound 20 MB · within 1.3% of the best possible"),
    ],
)
def test_the_bound_is_on_what_the_plan_was_made_for(objective, bound, text):
    plan = _load("plan", objective=objective)
    changed = plan.bound.model_copy(update={"period_s": 0.0, "gap": 0.013, **bound})
    notes = sheet_of(plan.model_copy(update={"bound": changed})).notes
    assert notes[0] == f"bottleneck stage 1 (407 µs) · {text}"


def test_a_plan_says_how_it_was_found_and_what_was_measured_before():
    measured = MeasuredRound(
        predicted_s=(0.1, 0.2),
        measured_s=(0.11, 0.19),
        predicted_samples_per_s=5.0,
        measured_samples_per_s=4.5,
        moved=(MovedNodes(source=0, target=1, nodes=("a", "b")),),
    )
    last = measured.model_copy(update={"moved": ()})
    run = PlannerRun(name="ideals", detail="tried all 9 places where a cut may help")
    assert sheet_of(_load("plan", planner=run, rounds=(measured, last))).notes[2:] == (
        "planner ideals: tried all 9 places where a cut may help",
        "round 1: stages took 110 ms (+10.0%), 190 ms (-5.0%), 4.5 samples/s (-10.0%); 2 nodes moved from stage 0 to 1",
        "round 2: stages took 110 ms (+10.0%), 190 ms (-5.0%), 4.5 samples/s (-10.0%); no other cut promised more",
    )


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
