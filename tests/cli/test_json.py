"""``--json`` on every command: exactly one JSON document on stdout, of an error too, whose code is the exit code."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from partkit.data.document import Document
from partkit.data.files import DOCUMENT_BY_KIND, document_class
from partkit.errors import CaptureError, InfeasibleError, MachineError, RankFailedError
from partkit_cli.main import app

from .conftest import GOLDEN

COMMANDS = [command.name or command.callback.__name__.rstrip("_") for command in app.registered_commands]
WELL = [
    ("profile bert-tiny", "profile", 0),
    ("profile bert-tiny -o p.json", "profile", 0),
    ("plan bert-tiny", "plan", 0),
    ("plan profile.json --cluster cluster.json --stages 2", "plan", 0),
    ("plan bert-tiny --pareto", "frontier", 0),
    ("run plan.json", "run", 0),
    ("run plan.json --quick -o r.json", "run", 0),
    ("compare plan.json", "comparison", 7),
    ("compare plan.json --html page.html -o c.json", "comparison", 7),
    ("compare --from comparison.json comparison.json", "comparison", 7),
    *((f"show {kind}.json", kind, 0) for kind in DOCUMENT_BY_KIND),
    ("show plan.json --format json", "plan", 0),
    ("diff plan.json plan.json", "difference", 0),
    ("validate plan.json --profile profile.json", "plan", 0),
    ("validate run.json", "run", 0),
    ("report run.json plan.json", "report", 0),
    ("advise bert-tiny", "advice", 0),
    ("advise profile.json --cluster cluster.json --objective latency", "advice", 0),
    ("export plan.json --to torch --profile profile.json", "export", 0),
    ("simulate plan.json --items 20", "simulation", 0),
    ("simulate plan.json --items 20 --trace trace.json -o s.json", "simulation", 0),
    ("cluster list", "clusters", 0),
    ("cluster show box", "cluster", 0),
    ("models", "models", 0),
    ("cluster list", "clusters", 0),
    ("cluster show box", "cluster", 0),
    ("advise bert-tiny", "advice", 0),
    ("export plan.json --to llama.cpp --profile profile.json", "export", 0),
    ("help", "help", 0),
    ("help run", "help", 0),
]
BADLY = [
    ("diff plan.json run.json", 2),
    ("show plan.json --format dot", 2),
    ("show text.json", 2),
    ("validate cut.json", 2),
    ("report text.json", 2),
    ("report run.json -o run.json", 2),
    ("export plan.json --to nothing", 2),
    ("export plan.json --to onnx", 2),
    ("import none.json bert-tiny", 2),
    ("import plan.json bert-tiny", 2),
    ("simulate plan.json --trace run.json/x", 2),
    ("cluster show", 2),
    ("cluster list box", 2),
    ("help nothing", 2),
    ("plan bert-tiny --pin embeddings", 2),
    ("plan bert-tiny --stages none", 2),
    ("plan bert-tiny --cluster cluster.json --stages 5", 4),
    ("run plan.json --devices one", 2),
    ("compare plan.json --with nobody", 2),
    ("compare --from comparison.json", 2),
    ("", 2),
    ("nothing", 2),
]


@pytest.fixture
def files(tmp_path, library):
    for kind in DOCUMENT_BY_KIND:
        shutil.copy(GOLDEN / f"{kind}.v1.json", tmp_path / f"{kind}.json")
    (tmp_path / "text.json").write_text("no JSON")
    (tmp_path / "cut.json").write_text((tmp_path / "plan.json").read_text()[:500])
    library.frontier = [library.plan]
    return library


def document_of(told) -> dict[str, object]:
    """The one document on stdout, which ends with one newline and holds nothing that a terminal obeys."""
    found = json.loads(told.out)
    assert isinstance(found, dict)
    assert told.out.endswith("}\n")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", told.out)
    return found


def test_every_command_is_tried_here():
    tried = {line.split()[0] for line, *_ in (*WELL, *BADLY) if line} - {"nothing"}
    assert tried <= set(COMMANDS)
    assert {"profile", "plan", "run", "compare", "show", "diff", "validate", "report", "models", "help"} <= tried


@pytest.mark.parametrize(("line", "kind", "code"), WELL, ids=lambda value: str(value))
def test_what_went_well_is_one_document(partkit, files, line, kind, code):
    told = partkit(*line.split(), "--json")
    found = document_of(told)
    assert (told.code, found["kind"]) == (code, kind)
    if kind in DOCUMENT_BY_KIND:
        read: Document = document_class(kind).from_data(found, where="stdout")
        assert read.to_json() == told.out


def error_of(told) -> dict[str, object]:
    found = document_of(told)
    assert sorted(found) == ["code", "hint", "kind", "message"]
    assert (found["kind"], found["code"]) == ("error", told.code)
    assert found["message"]
    assert found["message"] in " ".join(told.err.split())
    return found


@pytest.mark.parametrize(("line", "code"), BADLY, ids=lambda value: str(value))
def test_a_wrong_request_is_one_document_too(partkit, files, line, code):
    told = partkit(*line.split(), "--json")
    assert error_of(told)["code"] == code


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "wrong", [("--no-such-option",), ("none.json", "none.json", "none.json")], ids=["option", "files"]
)
def test_no_command_answers_a_wrong_command_line_with_anything_else(partkit, command, wrong):
    told = partkit(command, *wrong, "--json")
    assert error_of(told)["code"] in (2, 3)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("profile bert-tiny", "profile"),
        ("plan bert-tiny", "plan"),
        ("run plan.json", "run"),
        ("compare plan.json", "comparison"),
    ],
)
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CaptureError("it cannot be captured", hint="take another"), 2),
        (MachineError("no device", hint="buy one"), 3),
        (InfeasibleError("too large"), 4),
        (RankFailedError("rank 1 died"), 5),
        (OSError(28, "No space left on device", "there"), 3),
        (ZeroDivisionError("by zero"), 1),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_ends_the_work_is_one_document_with_its_code(partkit, files, line, answer, error, code):
    setattr(files, answer, error)
    assert error_of(partkit(*line.split(), "--json"))["code"] == code


def test_outputs_that_differ_are_told_by_the_result_s_own_document(partkit, files):
    files.run = files.run.model_copy(update={"check": files.run.check.model_copy(update={"passed": False})})
    told = partkit("run", "plan.json", "--json")
    assert (told.code, document_of(told)["kind"]) == (6, "run")
