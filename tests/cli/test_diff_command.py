from __future__ import annotations

import json

import pytest

from partkit.data.difference import Difference

from .conftest import GOLDEN

RUN, PLAN = (str(GOLDEN / f"{kind}.v1.json") for kind in ("run", "plan"))


@pytest.fixture
def later(tmp_path):
    data = json.loads((GOLDEN / "run.v1.json").read_text())
    data["steady_samples_per_s"] *= 2
    (tmp_path / "later.json").write_text(json.dumps(data))
    return "later.json"


def test_diff_says_what_matters_then_each_value(partkit, later):
    told = partkit("diff", RUN, later)
    assert (told.code, told.err) == (0, "")
    assert told.out == (
        f"{RUN} -> later.json: 4,820 samples/s in steady state instead of 2,410 (2 times that); "
        "median latency 520 µs.\n"
        "what              before  after  change\n"
        "steady samples/s   2,410  4,820   +100%\n"
    )


def test_diff_of_the_same_file_ends_well_too(partkit):
    told = partkit("diff", PLAN, PLAN)
    assert (told.code, told.out) == (0, f"{PLAN} -> {PLAN}: The two plans are the same.\n")


def test_diff_in_json_is_a_document_that_partkit_reads(partkit, later):
    told = partkit("diff", RUN, later, "--json")
    found = Difference.from_data(json.loads(told.out), where="stdout")
    assert (found.of, found.before, found.after, found.same) == ("run", RUN, later, False)
    assert [(change.path, change.change) for change in found.changes] == [("steady_samples_per_s", 1.0)]


def test_diff_takes_a_format(partkit, later):
    told = partkit("diff", RUN, later, "--format", "csv")
    assert told.out == "path,before,after,change\nsteady_samples_per_s,2410.0,4820.0,1.0\n"


def test_files_of_two_kinds_are_refused(partkit):
    told = partkit("diff", PLAN, RUN)
    assert (told.code, told.out) == (2, "")
    assert told.err == (
        f"partkit: {PLAN} is a plan and {RUN} a run, and only files of one kind can be told apart; "
        "name two plans, two runs or two comparisons, say\n"
    )
