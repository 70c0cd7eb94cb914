from __future__ import annotations

import json

from partkit.plan import Plan
from partkit.result import Comparison

from .conftest import GOLDEN

PLAN = str(GOLDEN / "plan.v1.json")


def _valid(library):
    library.comparison = library.comparison.model_copy(update={"valid": True, "reasons": ()})


def test_a_plan_is_compared_and_its_path_is_the_last_line(partkit, library):
    _valid(library)
    told = partkit("compare", PLAN, "-q")
    assert told.code == 0
    assert told.out.startswith("bert-tiny · float32 · input_ids=1x128:int64 · 2 devices\nexecutor ")
    assert told.out.endswith(f"\nSplit it in 2.\nplan: {PLAN}\n")
    plan, options, _ = library.asked["compare_executors"]
    assert plan == Plan.load(PLAN)
    assert vars(options) == {
        "executors": ("single", "pipeline", "dispatch", "fsdp"),
        "rounds": 9,
        "seconds_per_round": 2.0,
        "device": "auto",
        "threads": None,
        "allow_code": False,
        "quick": False,
    }


def test_a_model_is_planned_first_and_the_plan_written(partkit, library):
    _valid(library)
    told = partkit("compare", "py:mine:net", "--stages", "2", "--with", "single, fsdp", "--quick", "-o", "c.json")
    assert told.code == 0
    assert told.out.endswith("\nplan: plans/bert-tiny2.json\n")
    assert told.err.endswith("wrote plans/bert-tiny2.json\ncompare_executors at work\nwrote c.json\n")
    options = library.asked["compare_executors"][1]
    assert options.executors == ("single", "fsdp")
    assert (options.rounds, options.seconds_per_round, options.quick) == (3, 0.5, True)
    assert options.allow_code, "typing py: is consent"
    assert Comparison.load("c.json") == library.comparison


def test_an_invalid_comparison_is_shown_and_ends_with_7(partkit, library):
    told = partkit("compare", PLAN, "--json", "-q")
    assert told.code == 7
    assert json.loads(told.out) == library.comparison.to_data()


def test_rows_that_failed_do_not_make_a_comparison_invalid(partkit, library):
    _valid(library)
    told = partkit("compare", PLAN, "-q")
    assert told.code == 0
    assert "\ndeepspeed unsupported: deepspeed is not installed\nVALID\n" in told.out


def test_options_that_a_plan_already_fixes_are_refused(partkit, library):
    told = partkit("compare", PLAN, "--stages", "4", "--planner", "even", "-q")
    assert told.code == 2
    assert told.err == (
        f"partkit: --stages, --planner cannot change the plan in {PLAN}; "
        "leave it out, or name the model instead of the file\n"
    )
