"""The hint at what comes next, which ends each command that went well."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from partkit.data.plan import Plan
from partkit.data.profile import Profile
from partkit.executors import EXECUTORS
from partkit.reports.exports import EXPORTS
from partkit_cli.main import app
from partkit_cli.next_step import EXECUTOR_OF_TOOL, after_export

from .conftest import GOLDEN

PROFILE, PLAN, RUN, COMPARISON, CLUSTER = (
    str(GOLDEN / f"{kind}.v1.json") for kind in ("profile", "plan", "run", "comparison", "cluster")
)


@pytest.fixture
def sound(library):
    library.comparison = library.comparison.model_copy(update={"valid": True, "reasons": ()})
    return library


CASES = [
    (
        ("profile", "bert-tiny", "--batch", "2", "--input", "x=1x2:int64", "--tf32", "--threads", "3"),
        "partkit plan bert-tiny --batch 2 --input x=1x2:int64 --tf32 --threads 3",
    ),
    (("profile", "bert-tiny", "-o", "my profile.json"), "partkit plan 'my profile.json'"),
    (("plan", "bert-tiny", "-o", "it's.json"), "partkit run 'it'\"'\"'s.json'"),
    (("plan", "bert-tiny", "--memory", "9GB"), "partkit run plans/bert-tiny2.json --memory 9GB"),
    (("run", PLAN, "--threads", "1"), f"partkit compare {PLAN} --threads 1"),
    (("compare", PLAN), f"partkit compare {PLAN} -o comparison.json --html report.html"),
    (
        ("compare", PLAN, "--with", "single,pipeline", "--quick", "-o", "c.json"),
        f"partkit compare {PLAN} --with single,pipeline -o c.json --html report.html",
    ),
    (("compare", PLAN, "-o", "c.json"), f"partkit report c.json {PLAN} -o report.html"),
    (("compare", PLAN, "--html", "my page.html"), "open my page.html in a browser"),
    (("report", RUN, "-o", "page.html"), "open page.html in a browser"),
    (("show", PROFILE), f"partkit plan {PROFILE}"),
    (("show", PLAN), f"partkit run {PLAN}"),
    (("show", RUN), f"partkit report {RUN} -o report.html"),
    (("show", CLUSTER), f"partkit plan bert --cluster {CLUSTER}"),
    (("diff", PLAN, PLAN), f"partkit show {PLAN}"),
    (("diff", RUN, RUN), f"partkit report {RUN} {RUN} -o report.html"),
    (("validate", PLAN, "--profile", PROFILE), f"partkit run {PLAN}"),
    (("validate", PLAN, "--profile", PROFILE, "-o", "p.json"), "partkit run p.json"),
    (("validate", COMPARISON), f"partkit report {COMPARISON} -o report.html"),
    (("models",), "partkit plan bert-tiny"),
    (("advise", "bert-tiny", "--batch", "2"), "partkit compare bert-tiny --batch 2"),
    (("advise", "bert-tiny", "--cluster", "box"), "partkit plan bert-tiny --cluster box"),
    (("cluster", "show", "box"), "partkit plan bert --cluster box"),
    (("export", PLAN, "--to", "llama.cpp", "--profile", PROFILE), f"partkit show {PLAN}"),
]


@pytest.mark.parametrize(("typed", "following"), CASES, ids=lambda value: " ".join(value)[-40:])
def test_each_command_hints_at_the_next_one(partkit, sound, typed, following):
    told = partkit(*typed)
    assert (told.code, told.next) == (0, following)
    assert all(line.startswith("warning: ") for line in partkit(*typed, "--quiet").err.splitlines())
    assert partkit(*typed, "--json").next is None


@pytest.mark.parametrize("following", [each for _, each in CASES if each.startswith("partkit ")])
def test_each_hint_is_a_command_line_that_is_understood(following):
    group = app_group()
    _, name, *arguments = shlex.split(following)
    command = group.get_command(group.make_context("partkit", [name]), name)
    assert command is not None
    command.make_context(name, list(arguments))


def test_the_hint_after_the_list_of_clusters_shows_the_first(partkit):
    assert partkit("cluster", "list").next == "partkit cluster show 4x-pcie-gen1"


def test_a_cluster_of_devices_that_are_not_here_is_planned_for_with_computed_times(partkit, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    following = "partkit plan bert --cluster 4x-nvlink --analytic h100"
    assert partkit("cluster", "show", "4x-nvlink").next == following


def test_an_exported_split_is_measured_beside_the_tool_that_it_went_to():
    for target, executor in EXECUTOR_OF_TOOL.items():
        assert executor in EXECUTORS
        assert target in EXPORTS
        assert after_export(Path("p.json"), target) == ["compare", "p.json", "--with", f"pipeline,{executor}"]


def app_group():
    from typer.main import get_command

    return get_command(app)


def test_a_plan_that_this_machine_cannot_run_is_shown(partkit, sound):
    data = sound.plan.to_data()
    for device in data["cluster"]["devices"]:
        device["type"] = "cuda"
    sound.plan = Plan.from_data(data, where="here")
    assert partkit("plan", "bert-tiny").next == "partkit show plans/bert-tiny2.json"
    assert partkit("show", "plans/bert-tiny2.json").next == "partkit report plans/bert-tiny2.json -o report.html"


def test_a_profile_of_devices_that_are_not_here_is_planned_for_a_cluster_of_them(partkit, sound):
    data = sound.profile.to_data()
    data["device"] = {"type": "cuda", "name": "H100", "num_threads": None}
    sound.profile = Profile.from_data(data, where="here")
    assert partkit("profile", "bert-tiny", "--analytic", "h100").next == (
        "partkit plan bert-tiny --analytic h100 --cluster 4x-nvlink"
    )


def test_a_plan_of_own_code_asks_for_the_consent_that_its_file_needs(partkit, sound):
    data = sound.plan.to_data()
    data["model"]["source"] = "py:mine:net"
    sound.plan = Plan.from_data(data, where="here")
    assert partkit("plan", "py:mine:net").next == "partkit run plans/mine-net2.json --allow-code"


def test_what_went_wrong_has_its_own_hint(partkit, library):
    assert partkit("compare", PLAN).next is None  # of an invalid comparison
    library.run = library.run.model_copy(update={"check": library.run.check.model_copy(update={"passed": False})})
    assert (partkit("run", PLAN).code, partkit("run", PLAN).next) == (6, None)
    assert partkit("show", "none.json").next is None
