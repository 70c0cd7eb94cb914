from __future__ import annotations

import json

from partkit.data.plan import Plan
from partkit.data.result import Comparison
from partkit.runs.compare import CompareOptions

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
    assert options == CompareOptions(
        executors=("single", "replicas", "pipeline", "split", "dispatch", "fsdp", "deepspeed"),
        rounds=9,
        seconds_per_round=2.0,
        timeout_s=600.0,
    )


def test_a_model_is_planned_first_and_the_plan_written(partkit, library):
    _valid(library)
    library.plan = library.plan.model_copy(
        update={"model": library.plan.model.model_copy(update={"source": "py:mine:net"})}
    )
    told = partkit(
        "compare",
        "py:mine:net",
        "--stages",
        "2",
        "--with",
        "single, pipeline",
        "--quick",
        "-o",
        "c.json",
        "--memory",
        "5MB",
    )
    assert told.code == 0
    assert told.out.endswith("\nplan: plans/mine-net2.json\n")
    assert told.err.endswith("wrote plans/mine-net2.json\ncompare_executors at work\nwrote c.json\n")
    options = library.asked["compare_executors"][1]
    assert options.executors == ("single", "pipeline")
    assert (options.rounds, options.seconds_per_round, options.quick) == (3, 0.5, True)
    assert options.memory_bytes == library.asked["profile_model"][1]["memory_bytes"] == 5_000_000
    assert options.allow_code, "typing py: is consent"
    assert Comparison.load("c.json") == library.comparison


def test_typing_a_model_consents_to_that_model_s_code_alone(partkit, library):
    _valid(library)
    assert partkit("compare", "py:mine:net", "--stages", "2", "--with", "single,pipeline").code == 0
    assert not library.asked["compare_executors"][1].allow_code, "the plan is of bert-tiny"


def test_an_executor_of_the_user_s_own_needs_consent_whatever_the_model(partkit, library):
    for model in (PLAN, "bert-tiny", "py:mine:net"):
        told = partkit("compare", model, "--with", "single,evil:Executor", "-q")
        assert (told.code, told.err) == (
            2,
            "partkit: the executor evil:Executor is Python code outside partkit; allow it with --allow-code\n",
        )
    assert library.asked == {}
    _valid(library)
    assert partkit("compare", PLAN, "--with", "single,evil:Executor", "--allow-code", "-q").code == 0


def test_an_unknown_executor_is_told_before_the_model_is_profiled(partkit, library):
    told = partkit("compare", "bert-tiny", "--stages", "2", "--with", "single,fastest")
    assert told.code == 2
    assert told.err.startswith("partkit: there is no executor 'fastest'; choose from single, single-graph, ")
    assert library.asked == {}


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


def test_without_a_model_bert_is_compared_over_the_machine_s_devices(partkit, library, monkeypatch):
    _valid(library)
    monkeypatch.setattr("partkit.machine.devices.num_cuda_devices", lambda: 0)
    told = partkit("compare", "--quick", "-q")
    assert told.code == 0
    assert library.asked["parse_model"][0] == "bert"
    request = library.asked["plan_as_asked"][2]
    assert request.num_stages == 2, "two stages on a CPU"


def test_a_comparison_is_shown_in_the_format_asked_for(partkit, library):
    _valid(library)
    told = partkit("compare", PLAN, "-q", "--format", "csv")
    assert told.out.startswith("executor,status,samples_per_s,ci95_samples_per_s,")
    assert "plan:" not in told.out


def test_earlier_comparisons_are_joined_without_measuring(partkit, library):
    _valid(library)
    for name in ("a.json", "b.json"):
        library.comparison.save(name)
    told = partkit("compare", "--from", "a.json", "b.json", "-o", "c.json", "-q")
    assert told.code == 0
    assert "compare_executors" not in library.asked
    assert "\npipeline (b.json)" in told.out
    assert len(Comparison.load("c.json").rows) == 2 * len(library.comparison.rows)


def test_comparisons_of_other_models_are_joined_only_when_told(partkit, library):
    _valid(library)
    library.comparison.save("a.json")
    model = library.comparison.model.model_copy(update={"source": "gpt2"})
    library.comparison.model_copy(update={"model": model}).save("b.json")
    refused = partkit("compare", "--from", "a.json", "b.json", "-q")
    assert refused.code == 2
    assert refused.err.startswith("partkit: these comparisons cannot be set side by side: model differs: bert-tiny")
    assert partkit("compare", "--from", "a.json", "b.json", "--allow-mixed", "-q").code == 0


def test_one_comparison_has_nothing_to_be_joined_with(partkit, library):
    told = partkit("compare", "--from", "a.json", "-q")
    assert (told.code, told.err) == (
        2,
        "partkit: --from joins comparisons and needs two files or more, not 1; "
        "write them with 'partkit compare MODEL -o FILE'\n",
    )


def test_two_models_at_once_are_refused(partkit, library):
    told = partkit("compare", "bert", "gpt2", "-q")
    assert (told.code, told.err) == (
        2,
        "partkit: one model or plan is compared at a time, and 2 are named (bert, gpt2); "
        "join earlier comparisons with --from\n",
    )


def test_executors_that_need_no_graph_are_compared_without_capture(partkit, library, monkeypatch):
    _valid(library)
    monkeypatch.setattr("partkit.runs.uncaptured.uncaptured_plan", library.note("uncaptured_plan", "plan"))
    graphless = "single,dispatch,fsdp,fsdp-replicated,fsdp1,tp,deepspeed,deepspeed-inject,accelerate,torch-pipelining"
    told = partkit("compare", "py:mine:net", "--stages", "2", "--with", graphless, "-q")
    assert told.code == 0
    assert library.asked["compare_executors"][0] == library.plan
    assert "profile_model" not in library.asked
    del library.asked["uncaptured_plan"]
    assert partkit("compare", "py:mine:net", "--stages", "2", "--with", "single,replicas", "-q").code == 0
    assert "profile_model" in library.asked
    assert "uncaptured_plan" not in library.asked
