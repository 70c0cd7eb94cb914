from __future__ import annotations

import copy
from pathlib import Path

import pytest

from partkit.data.document import Document
from partkit.data.files import DOCUMENT_BY_KIND, load_document
from partkit.data.plan import MovedNodes, Plan
from partkit.errors import UsageError
from partkit.reports import render
from partkit.reports.difference import CIRCUMSTANCES, WORDS, difference

GOLDEN = Path(__file__).parents[2] / "golden"
NAMES = ("old.json", "new.json")
NO_FIGURES = {"schema_version", "kind", "seconds", "range"}
"""Keys whose value is fixed, or no difference: how long the planner took."""


def golden(kind):
    return load_document(GOLDEN / f"{kind}.v1.json")


def changed(document, *ways):
    """The document with other values at ``("stages", 0, "compute_s", 1.0)`` and the like."""
    data = document.to_data()
    for *way, last, value in ways:
        found = data
        for part in way:
            found = found[part]
        found[last] = value
    return type(document).from_data(data, where="here")


def leaves(data, way=()):
    if isinstance(data, dict):
        for key, value in data.items():
            yield from () if key in (*NO_FIGURES, *CIRCUMSTANCES) else leaves(value, (*way, key))
    elif isinstance(data, list):
        for place, value in enumerate(data):
            yield from leaves(value, (*way, place))
    else:
        yield way, data


@pytest.mark.parametrize("kind", DOCUMENT_BY_KIND)
def test_no_changed_figure_is_missed(kind):
    document = golden(kind)
    assert difference(document, document, NAMES).same
    found = 0
    for way, value in leaves(document.to_data()):
        if not isinstance(value, float) or value == 0:
            continue
        after = changed(document, (*way, value * 0.75))
        told = difference(document, after, NAMES)
        assert not told.same, way
        assert told.changes or told.notes, way
        found += 1
    assert found > 1


@pytest.mark.parametrize("kind", DOCUMENT_BY_KIND)
def test_a_difference_is_written_read_and_shown_in_every_form(kind, tmp_path):
    document = golden(kind)
    way, value = next((way, value) for way, value in leaves(document.to_data()) if isinstance(value, float) and value)
    told = difference(document, changed(document, (*way, value / 2)), NAMES)
    assert load_document(told.save(tmp_path / "difference.json")) == told
    for form in ("table", "markdown", "csv"):
        assert told.changes[0].what in render(told, form) or told.changes[0].path in render(told, form)


@pytest.mark.parametrize("kind", [kind for kind in WORDS if kind != "cluster"])
def test_when_and_where_it_was_made_is_told_and_is_no_difference(kind):
    document = golden(kind)
    field = "environment" if "environment" in document.to_data() else "provenance"
    after = changed(document, (field, {"torch": "9.9"}))
    told = difference(document, after, NAMES)
    assert told.same
    assert told.text == f"The two {kind}s are the same."
    assert f"{field}.torch" in [change.path for change in told.changes]


def test_two_kinds_are_refused_in_a_sentence():
    with pytest.raises(UsageError) as raised:
        difference(golden("plan"), golden("run"), NAMES)
    assert str(raised.value) == (
        "old.json is a plan and new.json a run, and only files of one kind can be told apart; "
        "name two plans, two runs or two comparisons, say"
    )


def test_a_kind_without_words_of_its_own_is_told_value_by_value():
    before = difference(golden("run"), changed(golden("run"), ("items", 1001)), NAMES)
    after = difference(golden("run"), changed(golden("run"), ("items", 1002)), NAMES)
    told = difference(before, after, NAMES)
    assert (told.of, told.text) == ("difference", "1 value differs.")
    assert [(change.path, change.before, change.after) for change in told.changes] == [("changes[0].after", 1001, 1002)]


def moved_plan() -> tuple[Plan, Plan]:
    """The golden plan, and the same with its first stage's last node in the second."""
    plan = golden("plan")
    data = copy.deepcopy(plan.to_data())
    data["stages"][1]["nodes"].insert(0, data["stages"][0]["nodes"].pop())
    data["stages"][0]["compute_s"] *= 0.5
    data["prediction"] = {"bottleneck_stage": 0, "period_s": 2e-4, "samples_per_s": 5000.0, "latency_s": 5e-4}
    return plan, Plan.from_data(data, where="here")


def test_a_plan_says_how_fast_it_is_now_and_what_moved():
    before, after = moved_plan()
    node = before.stages[0].nodes[-1]
    told = difference(before, after, NAMES)
    assert told.text == (
        "Predicted 5,000 samples/s instead of 2,458 (2.03 times that); stage 0 holds it up with 200 µs, "
        "where stage 1 did."
    )
    assert told.moved == (MovedNodes(source=0, target=1, nodes=(node,)),)
    assert told.notes == (f"1 node moved from stage 0 to stage 1 ({node})",)
    (compute,) = [change for change in told.changes if change.path == "stages[0].compute_s"]
    assert (compute.what, compute.unit, compute.before, compute.after, compute.change) == (
        "stage 0 compute",
        "s",
        0.0001083,
        5.415e-05,
        -0.5,
    )


def test_a_plan_of_another_model_says_that_first_and_moves_nothing():
    before, after = moved_plan()
    told = difference(before, changed(after, ("model", "source", "other")), NAMES)
    assert told.text.startswith(
        "They are of different models: bert-tiny float32 input_ids=1x128:int64 and other float32 input_ids=1x128:int64."
    )
    assert (told.moved, told.only_before) == ((), ())


def test_a_stage_that_only_one_plan_has_is_a_line_of_its_own():
    plan = golden("plan")
    data = plan.to_data()
    last = data["stages"].pop()
    data["stages"][0]["nodes"] += last["nodes"]
    data["stages"][0]["sends"] = []
    data["prediction"]["bottleneck_stage"] = 0
    whole = Plan.from_data(data, where="here")
    told = {change.path: (change.before, change.after) for change in difference(plan, whole, NAMES).changes}
    assert told["stages"] == (2, 1)
    assert told["stages[1].compute_s"] == (last["compute_s"], None)
    assert told["stages[0].sends[1].bytes"] == (327680, None)


def test_a_profile_names_the_nodes_whose_times_differ_most():
    before = golden("profile")
    after = changed(before, ("nodes", 1, "time_s", before.nodes[1].time_s * 2))
    told = difference(before, after, NAMES)
    node = before.nodes[1]
    assert told.notes[0].startswith(f"1 of {len(before.nodes)} nodes take another time, most of all {node.name} (")
    assert told.notes[0].endswith(", +100%)")


def test_a_comparison_says_whether_intervals_part():
    before = golden("comparison")
    after = changed(
        before,
        ("rows", 0, "samples_per_s", 2500.0),
        ("rows", 0, "ci95", [2400.0, 2600.0]),
        ("rows", 1, "ci95", [1495.0, 1520.0]),
        ("rows", 2, "executor", "fsdp1"),
        ("rows", 3, "reason", "it died"),
        ("rows", 3, "status", "failed"),
    )
    told = difference(before, after, NAMES)
    assert told.text == "Fastest is pipeline with 2,500 samples/s still, 8.6% more instead of 2,302."
    assert (told.only_before, told.only_after) == (("fsdp",), ("fsdp1",))
    assert told.notes == (
        "pipeline is faster, 8.6% more: the intervals lie apart",
        "single: the intervals overlap, so that its rates may differ by chance",
        "deepspeed: failed (it died); before: unsupported (deepspeed is not installed)",
    )


def test_a_run_says_when_its_outputs_began_to_differ_and_when_chance_will_do():
    before = golden("run")
    after = changed(
        before,
        ("steady_samples_per_s", 2434.1),
        ("check", "passed", False),
        ("warnings", ["an example, measured nowhere", "hot"]),
    )
    told = difference(before, after, NAMES)
    assert told.text == "2,434 samples/s in steady state instead of 2,410 (1.0% more); median latency 520 µs."
    assert told.notes == (
        "outputs DIFFERED from the unsplit model's and agreed with the unsplit model's before",
        "only new.json: hot",
        "a difference of less than 3% between two runs may be chance: compare measures in turns",
    )


def test_values_that_read_the_same_are_in_the_file_and_in_no_row():
    before = golden("run")
    told: Document = difference(before, changed(before, ("latency_s", "p50", 0.00052001)), NAMES)
    assert [change.path for change in told.changes] == ["latency_s.p50"]
    assert "latency p50" not in render(told, "table")
