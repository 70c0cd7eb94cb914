from __future__ import annotations

import json

import pytest

from partkit.data.plan import Plan
from partkit.data.result import Check, RunResult
from partkit.errors import MachineError, MismatchError, RankFailedError
from partkit.ranks.run_options import RunOptions

from .conftest import GOLDEN

PLAN = str(GOLDEN / "plan.v1.json")


def test_the_result_is_shown_on_stdout_and_the_work_on_stderr(partkit, library):
    told = partkit("run", PLAN)
    assert told.code == 0
    assert told.out.startswith("pipeline · 1,000 items of batch 1\nrank  device  busy")
    assert told.err == "run_plan at work\n"


def test_options_reach_the_library(partkit, library):
    partkit(
        *("run", PLAN, "--items", "5", "--seconds", "2.5", "--no-check", "--device", "cpu", "--threads", "1"),
        *("--mode", "latency", "--allow-code", "--devices", "0,0"),
        *("--timeout", "7.5", "--no-loop-graph", "--memory", "1.5GiB"),
    )
    plan, options, _ = library.asked["run_plan"]
    assert plan == Plan.load(PLAN)
    assert options == RunOptions(
        items=5,
        seconds=2.5,
        check=False,
        device="cpu",
        threads=1,
        mode="latency",
        allow_code=True,
        devices=(0, 0),
        timeout_s=7.5,
        loop_graph="off",
        memory_bytes=3 * 2**29,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--inputs", "in"],
            "--inputs and --outputs go together; give both, or neither to measure the plan",
        ),
        (
            ["--inputs", "in", "--outputs", "out", "--items", "3"],
            "--inputs runs each item of a file once, and --items cannot change that; leave it out",
        ),
        (
            ["--inputs", "in", "--outputs", "out", "--rate", "9", "--no-check", "--loop-graph"],
            "--inputs runs each item of a file once, and --no-check, --rate, --loop-graph cannot change that; "
            "leave it out",
        ),
        (
            ["--inputs", "in", "--outputs", "out"],
            "there is no file in of items; make it with safetensors.torch.save_file",
        ),
        (
            ["--devices", "0,5"],
            "--devices 0,5 names device 5, and the plan's cluster has 2 CPU devices; "
            "use 0 to 1, or plan again with more devices",
        ),
        (
            ["--devices", "0"],
            "1 devices were given for a plan of 2 places; give one for each stage (and replica), as in --devices 0,1",
        ),
        (
            ["--batch", "2"],
            "--batch 2 has no effect: the plan of bert-tiny is for fixed shapes; plan it again with '--dynamic batch'",
        ),
        (["--find-rate"], "--find-rate needs the bound that the latency is to hold; add --max-latency, as 20ms"),
        (["--max-latency", "20ms"], "--max-latency is the bound of --find-rate; add --find-rate"),
        (
            ["--find-rate", "--max-latency", "20"],
            "'20' is not a time; write it as 20ms, 500us or 0.5s",
        ),
        (
            ["--find-rate", "--max-latency", "20ms", "--rate", "9"],
            "--find-rate sets its own load, and --rate cannot change it; leave it out",
        ),
        (
            ["--microbatch", "4"],
            "--microbatch and --max-delay are of items that come by themselves; add --inputs or --find-rate",
        ),
        (
            ["--find-rate", "--max-latency", "20ms", "--microbatch", "4"],
            "--microbatch 4 has no room in the plan: its batch is fixed; plan again with --microbatch 4",
        ),
        (
            ["--rate", "9", "--mode", "latency"],
            "items cannot arrive at a rate and one at a time; leave out --mode latency: --rate tells the latency",
        ),
    ],
)
def test_an_option_that_cannot_be_honoured_is_refused_before_anything_starts(partkit, library, options, message):
    told = partkit("run", PLAN, "-q", *options)
    assert (told.code, told.out, told.err) == (2, "", f"partkit: {message}\n")
    assert "run_plan" not in library.asked


def test_json_is_the_result_and_the_output_option_also_writes_it(partkit, library):
    told = partkit("run", PLAN, "--json", "-o", "run.json")
    assert json.loads(told.out) == library.run.to_data()
    assert RunResult.load("run.json") == library.run


def test_a_quick_run_is_short_and_labelled(partkit, library):
    told = partkit("run", PLAN, "--quick", "--json")
    assert library.asked["run_plan"][1].seconds == 1.0
    assert json.loads(told.out)["warnings"][-1] == "quick run: too short for figures to rely on"


def test_outputs_that_differ_are_shown_and_end_with_6(partkit, library):
    failed = Check(max_abs_diff=0.5, tolerance=1e-4, passed=False)
    library.run = library.run.model_copy(update={"check": failed})
    told = partkit("run", PLAN)
    assert told.code == 6
    assert "outputs DIFFER from the unsplit model's: largest difference 0.5, tolerance 0.0001\n" in told.out


def test_a_rank_of_torchrun_prints_nothing(partkit, library):
    library.run = None
    told = partkit("run", PLAN, "-q", "--json")
    assert (told.code, told.out, told.err) == (0, "", "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MachineError("there is no CUDA device", hint="run it with --device cpu"), 3),
        (RankFailedError("rank 1 (stage 1, cpu) died of signal 9", hint="its log is in /tmp/x"), 5),
        (MismatchError("the plan is for another structure of bert", hint="plan it again"), 2),
    ],
)
def test_what_stops_a_run_is_one_line_with_its_exit_code(partkit, library, error, code):
    library.run = error
    told = partkit("run", PLAN, "-q")
    assert (told.code, told.out, told.err) == (code, "", f"partkit: {error}\n")


def test_a_plan_that_is_not_there_says_how_to_make_one(partkit, library):
    told = partkit("run", "plans/none.json")
    assert told.code == 2
    assert told.err == ("partkit: there is no file plans/none.json; check the path, or make it with 'partkit plan'\n")


def test_a_plan_of_a_newer_schema_is_refused_by_number(partkit, library, tmp_path):
    data = json.loads((GOLDEN / "plan.v1.json").read_text())
    (tmp_path / "new.json").write_text(json.dumps({**data, "schema_version": 2}))
    told = partkit("run", "new.json")
    assert told.code == 2
    assert told.err == (
        "partkit: new.json has schema_version 2, and this partkit reads up to 1; "
        "upgrade partkit, or make the file again with this one\n"
    )


def test_all_faults_of_a_plan_are_told_at_once_with_their_paths(partkit, library, tmp_path):
    data = json.loads((GOLDEN / "plan.v1.json").read_text())
    data["colour"] = "red"
    del data["stages"][0]["nodes"]
    (tmp_path / "odd.json").write_text(json.dumps(data))
    told = partkit("run", "odd.json")
    assert told.code == 2
    assert told.err == (
        "partkit: odd.json is not a valid plan: stages[0].nodes: Field required; "
        "colour: Extra inputs are not permitted; correct the file there\n"
    )
