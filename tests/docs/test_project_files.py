"""What people and other programs read of the project: citation, issue forms, workflows, the picture of a report."""

from __future__ import annotations

import re
import tomllib

import yaml

from .pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read(path: str):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version_and_licence():
    citation = read("CITATION.cff")
    assert (citation["cff-version"], citation["type"]) == ("1.2.0", "software")
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert [each["name"] for each in citation["authors"]] == [each["name"] for each in PROJECT["authors"]]


def test_issue_forms_ask_for_what_is_needed_and_each_answer_has_a_name():
    forms = [path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]
    assert len(forms) == 3
    for path in forms:
        form = read(str(path.relative_to(ROOT)))
        assert {"name", "description", "body"} <= set(form)
        asked = [each for each in form["body"] if each["type"] != "markdown"]
        assert all(each["attributes"]["label"] for each in asked)
        assert len({each["id"] for each in asked}) == len(asked)
        assert any(each.get("validations", {}).get("required") for each in asked)


def test_the_workflow_tries_torch_from_the_oldest_that_is_admitted_and_the_pinned_one():
    tried = read(".github/workflows/checks.yml")["jobs"]["torch"]["strategy"]["matrix"]["torch"]
    (oldest,) = (
        re.search(r"torch>=([\d.]+)", each)[1] for each in PROJECT["dependencies"] if each.startswith("torch>")
    )
    pinned = re.search(r"^torch==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert tried[0].startswith(f"{oldest}.")
    assert pinned in tried


def test_the_picture_of_a_report_is_small_and_a_picture():
    picture = (ROOT / "docs/images/report.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 150_000
