"""report, compare --html, and show's graphs."""

from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import pytest

from partkit.data.plan import Plan

from .conftest import GOLDEN

COMPARISON, RUN, PLAN, PROFILE = (str(GOLDEN / f"{kind}.v1.json") for kind in ("comparison", "run", "plan", "profile"))


def test_report_writes_one_page_of_all_files_and_says_its_size(partkit, library):
    told = partkit("report", COMPARISON, RUN, PLAN, "-o", "out/page.html")
    page = Path("out/page.html").read_text()
    assert (told.code, told.out) == (0, "")
    assert told.err == f"wrote out/page.html ({len(page.encode()) / 1000:.3g} kB)\n"
    assert page.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert all(f">{name}<" in page for name in ("Throughput and latency", "Stages: predicted and measured"))


def test_report_in_json_says_what_was_written_from_what(partkit, library):
    told = partkit("report", RUN, "--json")
    assert json.loads(told.out) == {
        "kind": "report",
        "file": "report.html",
        "bytes": Path("report.html").stat().st_size,
        "made_from": [RUN],
    }


def test_report_draws_the_model_from_the_profile_that_this_machine_keeps(partkit, library):
    library.kept_profile = library.profile
    partkit("report", PLAN)
    assert library.asked["find_profile"] == (library.plan.profile_sha256, {})
    assert library.asked["explain_cuts"] == (library.plan, library.profile, {})
    assert "aten.gelu.default" in Path("report.html").read_text()


def test_report_takes_the_profile_that_is_named(partkit, library):
    plan = library.plan.model_copy(update={"profile_sha256": library.profile.sha256})
    plan.save("plan.json")
    partkit("report", "plan.json", PROFILE)
    assert "find_profile" not in library.asked
    assert "aten.gelu.default" in Path("report.html").read_text()


@pytest.mark.parametrize(
    "typed", [("report", "run.json", "-o", "run.json"), ("compare", "run.json", "--html", "./run.json", "--quick")]
)
def test_a_report_never_replaces_what_it_is_made_from(partkit, library, typed):
    text = Path(RUN).read_text()
    Path("run.json").write_text(text)
    told = partkit(*typed)
    assert (told.code, told.err) == (
        2,
        "partkit: the report would replace run.json, which it is made from; name another file, as -o report.html\n",
    )
    assert Path("run.json").read_text() == text


def test_report_is_told_at_once_where_it_may_not_write_or_has_nothing_to_read(partkit, library, tmp_path):
    assert partkit("report", RUN, "-o", str(tmp_path)).err.startswith(f"partkit: {tmp_path} is a folder")
    assert partkit("report", "none.json").err.startswith("partkit: there is no file none.json")
    assert partkit("report").code == 2


def test_compare_writes_a_report_of_the_comparison_and_its_plan(partkit, library):
    told = partkit("compare", PLAN, "--html", "page.html", "-o", "c.json", "-q")
    assert (told.code, told.err) == (7, "")
    page = Path("page.html").read_text()
    assert "Split it in 2." in page
    assert 'data-name="c.json"' in page
    assert f'data-name="{PLAN}"' in page


def test_compare_writes_a_report_of_joined_comparisons(partkit, library):
    told = partkit("compare", "--from", COMPARISON, COMPARISON, "--html", "page.html")
    assert told.err.endswith("wrote page.html\n")
    assert Path("page.html").read_text().count('type="application/json"') == 1


def test_show_draws_a_plan_s_graph_from_its_profile(partkit, library):
    graph = nx.parse_graphml(partkit("show", PLAN, "--format", "graphml", "--profile", PROFILE).out)
    assert {name: data.get("stage") for name, data in graph.nodes(data=True)} == {
        "arange": None,
        **library.plan.stage_by_node,
    }
    assert "subgraph cluster_1 {" in partkit("show", PLAN, "--format", "dot", "--profile", PROFILE).out
    assert partkit("show", PROFILE, "--format", "dot").out.startswith('digraph "bert-tiny" {\n')


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ((RUN, "--format", "dot"), f"{RUN} has no graph to show as dot; name a plan or a profile"),
        (
            (PLAN, "--format", "dot"),
            f"{PLAN} cannot be shown as dot: the plan's profile is not kept on this machine; "
            "name it with --profile FILE, or measure one with 'partkit profile bert-tiny -o FILE'",
        ),
        (
            (PLAN, "--format", "graphml", "--json"),
            "--json and --format graphml ask for two forms of the same; leave one of them out",
        ),
        (
            ("other.json", "--format", "dot", "--profile", PROFILE),
            "1 nodes of other.json are not in the profile, the first being 'nowhere'; name it with --profile FILE, "
            "or measure one with 'partkit profile bert-tiny -o FILE'",
        ),
    ],
)
def test_show_says_why_there_is_no_graph(partkit, library, typed, message):
    data = library.plan.to_data()
    data["stages"][0]["nodes"].append("nowhere")
    Plan.from_data(data, where="here").save("other.json")
    told = partkit("show", *typed)
    assert (told.code, told.err) == (2, f"partkit: {message}\n")
