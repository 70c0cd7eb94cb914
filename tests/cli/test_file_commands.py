"""show, validate, profile and models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from partkit.data.explanation import CrossingValue, CutExplanation, Move
from partkit.data.files import DOCUMENT_BY_KIND, load_document
from partkit.data.plan import Plan

from .conftest import GOLDEN


@pytest.mark.parametrize("kind", DOCUMENT_BY_KIND)
def test_show_tells_every_kind_of_file_to_people_and_to_programs(partkit, kind):
    path = str(GOLDEN / f"{kind}.v1.json")
    told = partkit("show", path)
    assert told.code == 0
    assert told.out.strip()
    assert json.loads(partkit("show", path, "--json").out) == load_document(path).to_data()


def test_show_explains_the_cuts_of_a_plan_whose_profile_is_kept(partkit, library):
    library.kept_profile = library.profile
    move = Move(node="gelu", source=0, target=1, period_s=0.0004, pair_period_s=0.00045, change=0.062)
    value = CrossingValue(name="gelu", bytes=262144, source=0, targets=(1,))
    library.cuts = [
        CutExplanation(
            before=0,
            values=(value,),
            bytes=262144,
            compute_before_s=1e-4,
            compute_after_s=1e-4,
            period_before_s=1.5e-4,
            period_after_s=3.9e-4,
            earlier=move,
            later=None,
        )
    ]
    told = partkit("show", str(GOLDEN / "plan.v1.json"))
    assert told.out.endswith(
        "\n"
        "cut    crosses   bytes  before   after  one node earlier      one node later\n"
        "0 | 1  gelu     262 kB  150 µs  390 µs  450 µs, +6.2% (gelu)  no node may\n"
        "moved by one node: the slower of the two stages, the change of the plan's period, the node\n"
    )
    assert library.asked["explain_cuts"] == (library.plan, library.profile, {})


def test_show_says_how_to_get_the_profile_that_would_explain_the_cuts(partkit, library):
    told = partkit("show", str(GOLDEN / "plan.v1.json"))
    assert told.code == 0
    assert told.err == (
        "the cuts are not explained: the plan's profile is not kept on this machine; name it with --profile FILE, or "
        "measure one with 'partkit profile bert-tiny -o FILE'\n"
    )


def test_show_takes_a_format(partkit):
    told = partkit("show", str(GOLDEN / "plan.v1.json"), "--format", "csv")
    assert told.out.startswith("stage,devices,modules,param_bytes,peak_bytes,compute_s,send_bytes\n0,0,")


def test_an_unknown_format_is_told_with_the_known_ones(partkit):
    told = partkit("show", str(GOLDEN / "plan.v1.json"), "--format", "pdf")
    assert told.code == 2
    assert told.err == (
        "partkit: there is no format 'pdf'; the formats are table, markdown, csv, json, dot, graphml, model-explorer, "
        "model-explorer-times, model-explorer-bytes\n"
    )


def test_a_file_of_no_known_kind_is_refused(partkit, tmp_path):
    (tmp_path / "x.json").write_text("[1]")
    told = partkit("show", "x.json")
    assert told.code == 2
    assert told.err == (
        f"partkit: x.json is not a partkit file: its kind is None; the kinds are {', '.join(DOCUMENT_BY_KIND)}\n"
    )


def test_validate_predicts_a_plan_again_and_writes_it_if_asked(partkit, library):
    path = str(GOLDEN / "plan.v1.json")
    told = partkit("validate", path, "--profile", str(GOLDEN / "profile.v1.json"), "-o", "checked.json")
    assert told.code == 0
    assert told.err == f"{path} is a valid plan\nwrote checked.json\n"
    assert set(library.asked) == {"repredict"}
    assert library.asked["repredict"] == (library.plan, library.profile, {})
    assert Plan.load("checked.json") == library.plan


def test_validate_uses_the_plan_s_own_profile_where_this_machine_has_it(partkit, library):
    library.kept_profile = library.profile
    told = partkit("validate", str(GOLDEN / "plan.v1.json"), "-q")
    assert (told.code, told.err) == (0, "")
    assert library.asked["repredict"] == (library.plan, library.profile, {})
    assert library.asked["find_profile"] == (library.plan.profile_sha256, {})
    assert set(library.asked) == {"find_profile", "repredict"}


def test_validate_says_when_the_figures_come_from_another_profile(partkit, library):
    library.profile = library.profile.model_copy(update={"method": "analytic"})
    told = partkit("validate", str(GOLDEN / "plan.v1.json"), "-q")
    assert told.code == 0
    assert told.err == (
        "warning: the plan was made from another profile; its figures are predicted again from this one\n"
    )


def test_validate_profiles_the_plan_s_model_where_no_profile_is_kept(partkit, library):
    partkit("validate", str(GOLDEN / "plan.v1.json"), "--threads", "1")
    assert library.asked["profile_model"] == (
        library.plan.model,
        {"device": "auto", "threads": 1, "analytic": None, "memory_bytes": None},
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "graph:diamond",
            "the plan is of graph:diamond, a graph that cannot be profiled here; give the graph's file with --profile",
        ),
        (
            "py:evil:net",
            "the plan's model py:evil:net runs code of its own; "
            "if you trust it, add --allow-code; else give its profile with --profile",
        ),
    ],
)
def test_validate_says_when_it_needs_a_profile(partkit, library, source, message):
    data = library.plan.to_data()
    data["model"]["source"] = source
    Plan.from_data(data, where="here").save("plan.json")
    told = partkit("validate", "plan.json", "-q")
    assert (told.code, told.err) == (2, f"partkit: {message}\n")


def test_validate_checks_other_files_too(partkit, library):
    path = str(GOLDEN / "cluster.v1.json")
    told = partkit("validate", path)
    assert told.code == 0
    assert told.err == f"{path} is a valid cluster\n"


def test_profile_shows_blocks_and_writes_only_if_asked(partkit, library, tmp_path):
    told = partkit("profile", "bert-tiny", "-q")
    assert told.out.splitlines()[2].split() == ["bert.embeddings", "2", "10.8", "MB", "26", "µs", "11.4%", "65.5", "kB"]
    assert list(tmp_path.iterdir()) == []
    told = partkit("profile", "bert-tiny", "--refresh", "-o", "p.json")
    assert told.err == "profile_model at work\nwrote p.json\n"
    assert library.asked["profile_model"][1] == {
        "device": "auto",
        "threads": None,
        "refresh": True,
        "analytic": None,
        "memory_bytes": None,
    }


def test_models_lists_names_for_people_and_for_programs(partkit, library):
    told = partkit("models")
    assert told.code == 0
    assert told.out.splitlines()[1] == "bert-tiny   4,400,000  input_ids=1x128:int64  A small BERT"
    assert json.loads(partkit("models", "--json").out) == {
        "kind": "models",
        "models": [
            {
                "name": "bert-tiny",
                "description": "A small BERT",
                "num_parameters": 4400000,
                "inputs": ["input_ids=1x128:int64"],
            }
        ],
    }


def test_show_draws_a_plan(partkit, library):
    library.kept_profile = library.profile
    told = partkit("show", str(GOLDEN / "plan.v1.json"), "--svg", "out/my plan.svg")
    assert (told.code, told.err) == (0, "wrote out/my plan.svg\n")
    assert Path("out/my plan.svg").read_text().startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert 'class="map"' in Path("out/my plan.svg").read_text()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (("run", "--svg", "x.svg"), "{file} is no plan, and --svg draws plans; name a plan, as plans/bert2.json"),
        (
            ("plan", "--svg", "x.svg", "--format", "dot"),
            "--format dot and --svg ask for two drawings; leave one of them out",
        ),
        (("plan", "--svg", "."), ". is a folder, and a file is to be written; name one in it, as ./out.json"),
    ],
)
def test_show_says_why_there_is_no_picture(partkit, library, typed, message):
    kind, *options = typed
    file = str(GOLDEN / f"{kind}.v1.json")
    told = partkit("show", file, *options)
    assert (told.code, told.err) == (2, f"partkit: {message.format(file=file)}\n")
    assert not Path("x.svg").exists()
