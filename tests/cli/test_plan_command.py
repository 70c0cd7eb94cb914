from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.model import ModelSpec
from partkit.data.plan import Plan
from partkit.data.profile import Node, Profile
from partkit.errors import InfeasibleError
from partkit.planners import PlanRequest
from partkit.ranks.run_options import RunOptions
from partkit_cli.planning import default_path, is_file

from .conftest import GOLDEN


def test_the_stages_are_shown_and_the_plan_written_where_the_model_and_stages_say(partkit, library):
    told = partkit("plan", "bert-tiny", "--stages", "2")
    assert told.code == 0
    assert told.out == (
        "stage  device  modules                params     peak  compute  sends\n"
        "    0       0  embeddings, layer.0   10.9 MB  11.3 MB   108 µs  328 kB -> 1\n"
        "    1       1  layer.1, predictions  10.9 MB  21.8 MB  99.7 µs\n"
        "bottleneck stage 1 (407 µs) · lower bound 402 µs · within 1.2% of the best possible\n"
        "predicted 2,458 samples/s   (even layers 2,041 · by parameters 1,740)\n"
    )
    assert told.err == "profile_model at work\nmachine_cluster at work\nwrote plans/bert-tiny2.json\n"
    written = Plan.load("plans/bert-tiny2.json")
    assert {"created", "host", "versions", "command"} <= set(written.provenance)
    assert written.model_copy(update={"provenance": library.plan.provenance}) == library.plan


def test_json_is_one_document_on_stdout_and_nothing_else(partkit, library):
    told = partkit("plan", "bert-tiny", "--json", "--quiet", "-o", "mine.json")
    told_plan = json.loads(told.out)
    assert told_plan | {"provenance": library.plan.provenance} == library.plan.to_data()
    assert told.err == ""
    assert Plan.load("mine.json").to_data() == told_plan


def test_options_reach_the_library(partkit, library):
    told = partkit(
        *("plan", "bert-tiny", "--stages", "2", "--batch", "4", "--seq", "64", "--input", "x=1x2:int64"),
        *("--dtype", "bfloat16", "--seed", "7", "--task", "masked-lm", "--trust-remote-code", "--device", "cpu"),
        *(
            "--threads",
            "1",
            "--memory",
            "9GB",
            "--planner",
            "chain",
            "--objective",
            "latency",
            "--pin",
            "a=b=0",
            "--pin",
            "cls=1",
        ),
        *("--cap", "0=1GB", "--cap", "cpu1=2GiB", "--granularity", "layer", "--replicate", "auto", "--cluster", "box"),
        *("--keep-together", "layer.[12]", "--keep-together", "cls"),
    )
    assert told.code == 0, told.err
    assert library.asked["parse_model"] == (
        "bert-tiny",
        {
            "batch": 4,
            "seq": 64,
            "dynamic": (),
            "inputs": ("x=1x2:int64",),
            "dtype": "bfloat16",
            "seed": 7,
            "task": "masked-lm",
            "trust_remote_code": True,
            "weights": None,
        },
    )
    profiled = {"device": "cpu", "threads": 1, "analytic": None, "refresh": False, "memory_bytes": 9_000_000_000}
    assert library.asked["profile_model"][1] == profiled
    assert library.asked["load_cluster"] == ("box", {})
    profile, cluster, request, _ = library.asked["plan_as_asked"]
    assert (profile, cluster) == (library.profile, library.cluster)
    assert request == PlanRequest(
        num_stages=2,
        planner="chain",
        objective="latency",
        memory_caps_bytes={0: 1_000_000_000, 1: 2 * 2**30},
        pins={"a=b": 0, "cls": 1},
        granularity="layer",
        keep_together=("layer.[12]", "cls"),
        max_replicas=None,
    )


def test_a_profile_file_is_planned_without_building_a_model(partkit, library):
    told = partkit("plan", str(GOLDEN / "profile.v1.json"), "--stages", "2", "--cluster", "box")
    assert told.code == 0
    assert set(library.asked) == {"load_cluster", "plan_as_asked"}
    assert library.asked["plan_as_asked"][0] == library.profile


def test_a_profile_without_cluster_is_planned_for_as_many_devices_of_its_own_kind(partkit, library):
    partkit("plan", str(GOLDEN / "profile.v1.json"), "--stages", "2")
    assert library.asked["machine_cluster"] == (2, {"device": "cpu", "threads": None, "margin": 0.08})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stages", "0"], "--stages 0 is not a number of stages; give 1 or more, or auto"),
        (["--stages", "two"], "--stages two is not a number of stages; give 1 or more, or auto"),
        (["--replicate", "0"], "--replicate 0 is not a number of devices; give 1 or more, or auto"),
        (["--pin", "embeddings"], "--pin embeddings is not REGEX=STAGE; write it as --pin 'embeddings=0'"),
        (["--cap", "24GiB"], "--cap 24GiB is not DEVICE=SIZE; write it as --cap 0=24GiB"),
        (["--cap", "0=much"], "'much' is not a size; write it as 24GiB, 1.5GB or a number of bytes"),
        (
            ["--cap", "2=1GB"],
            "--cap 2=1GB names device '2', and cluster 'two-cpus' has 2; use 0 to 1, or one of cpu0, cpu1",
        ),
    ],
)
def test_an_option_that_cannot_be_read_is_told_with_how_to_write_it(partkit, library, options, message):
    told = partkit("plan", "bert-tiny", "-q", *options)
    assert (told.code, told.out, told.err) == (2, "", f"partkit: {message}\n")


REFUSED = (
    "graph:six needs 614 B (600 B of it parameters and buffers), and 2 devices of 230 B hold 460 B: 3 such devices do, "
    "with 206 B on the fullest"
)


def test_the_command_that_a_refusal_of_too_few_devices_names_works(partkit, tmp_path):
    nodes = tuple(Node(name=f"n{i}", time_s=1.0, output_bytes=1, param_bytes=100) for i in range(6))
    edges = tuple((f"n{i}", f"n{i + 1}") for i in range(5))
    Profile(model=ModelSpec(source="graph:six"), nodes=nodes, edges=edges).save(tmp_path / "six.json")
    devices = tuple(Device(name=f"gpu{i}", type="cuda", memory_bytes=230) for i in range(2))
    Cluster(devices=devices, link=Link(bytes_per_s=1.0)).save(tmp_path / "two.json")
    for asked, enough in (
        ("--cluster two.json --stages 2", "--stages 3 --cluster two.json:3"),
        ("--cluster two.json:1 --stages 1", "--stages 3 --cluster two.json:3"),
        ("--cluster 8x-nvlink --stages 2 --cap all=230", "--stages 3 --cluster 8x-nvlink --cap all=230"),
        ("--cluster 2x-nvlink --cap gpu0=230 --cap 1=230 --stages 2", "--stages 3 --cluster 2x-nvlink:3 --cap all=230"),
        ("--cluster two.json --pareto", "--stages 3 --cluster two.json:3"),
    ):
        told = partkit("plan", "six.json", "-q", *asked.split())
        few = (
            REFUSED
            if "1 --" not in asked
            else REFUSED.replace("2 devices of 230 B hold 460", "1 device of 230 B holds 230")
        )
        assert (told.code, told.err) == (4, f"partkit: {few}; plan it with '{enough}'\n")
        assert partkit("plan", "six.json", "-q", "-o", "six3.json", *enough.split()).code == 0
        assert len(Plan.load("six3.json").stages) == 3
    told = partkit("plan", "six.json", "-q", "--cluster", "two.json")
    assert (told.code, told.err) == (0, f"warning: {REFUSED}: the plan is for those 3\n")
    assert len(Plan.load("plans/six3.json").cluster.devices) == 3


def test_model_options_beside_a_profile_file_are_refused(partkit, library):
    path = str(GOLDEN / "profile.v1.json")
    told = partkit("plan", path, "--batch", "2", "--input", "x=1:int64", "-q")
    assert told.code == 2
    assert told.err == (
        f"partkit: --batch, --input cannot change the profile in {path}; "
        "leave it out, or name the model instead of the file\n"
    )


def test_analytic_times_need_no_device_but_a_cluster_to_plan_for(partkit, library, monkeypatch):
    assert partkit("plan", "bert-tiny", "--analytic", "h100", "--cluster", "box").code == 0
    profiled = {"device": "auto", "threads": None, "analytic": "h100", "refresh": False, "memory_bytes": None}
    assert library.asked["profile_model"][1] == profiled
    path = str(GOLDEN / "profile.v1.json")
    assert partkit("plan", path, "--analytic", "h100", "-q").err == (
        f"partkit: --analytic cannot change the profile in {path}; leave it out, or name the model instead\n"
    )
    monkeypatch.setattr("partkit.machine.devices.num_cuda_devices", lambda: 0)
    device = library.profile.device.model_copy(update={"type": "cuda", "name": "NVIDIA H100 SXM (nominal figures)"})
    library.profile = library.profile.model_copy(update={"method": "analytic", "device": device})
    told = partkit("plan", "bert-tiny", "--analytic", "h100", "-q")
    assert told.code == 2
    assert told.err == (
        "partkit: the profile is of NVIDIA H100 SXM (nominal figures), and this machine has no CUDA device whose links "
        "could be measured; add --cluster with a file or one of box, rack\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{nonsense", "is not JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
        ('{"kind": "profile", "nodes": [', "is cut short: Expecting value at line 1, column 31"),
    ],
)
def test_a_profile_that_is_not_whole_json_is_told_with_the_place(partkit, library, tmp_path, text, message):
    (tmp_path / "p.json").write_text(text)
    told = partkit("plan", "p.json", "-q")
    assert told.code == 2
    assert told.err == f"partkit: p.json {message}; make it again with 'partkit plan' or 'partkit profile'\n"


def frontier_of(plan):
    slow = plan.prediction.model_copy(update={"samples_per_s": 1229.0, "period_s": 0.0008137, "latency_s": 0.0004})
    return [plan, plan.model_copy(update={"prediction": slow})]


def test_pareto_lists_plans_and_writes_them_only_into_a_named_folder(partkit, library):
    library.frontier = frontier_of(library.plan)
    told = partkit("plan", "bert-tiny", "--pareto")
    assert told.out == (
        "plan  stages  devices  samples/s  period  latency  largest peak\n"
        "   1       2        2      2,458  407 µs   507 µs       21.8 MB\n"
        "   2       2        2      1,229  814 µs   400 µs       21.8 MB\n"
        "no plan that was found is better than one of these in both throughput and latency\n"
    )
    assert told.err.endswith("wrote no plan; add -o FOLDER for a file of each\n")
    told = partkit("plan", "bert-tiny", "--pareto", "--json", "-q", "-o", "all")
    data = json.loads(told.out)
    assert (data["kind"], [plan["prediction"]["latency_s"] for plan in data["plans"]]) == (
        "frontier",
        [0.0005065, 0.0004],
    )
    assert [Plan.load(f"all/bert-tiny2-{number}.json").to_data() for number in (1, 2)] == data["plans"]


def test_measure_runs_the_stages_and_says_where_the_rounds_did_not_settle(partkit, library):
    library.tuned = SimpleNamespace(plan=library.plan, is_stable=False)
    told = partkit("plan", "bert-tiny", "--measure", "--threads", "1", "--memory", "2GB", "-q")
    assert told.code == 0
    assert told.err == ("warning: after 0 rounds another cut still promised more; this plan ran fastest of them\n")
    profile, cluster, request, options, _ = library.asked["plan_by_measuring"]
    assert (profile, cluster, request.planner) == (library.profile, library.cluster, "auto")
    assert options == RunOptions(seconds=1.0, check=False, threads=1, allow_code=True, memory_bytes=2_000_000_000)
    assert Plan.load("plans/bert-tiny2.json").stages == library.plan.stages


def test_a_kept_profile_is_measured_anew_where_that_is_asked_for(partkit, library):
    partkit("plan", "bert-tiny", "--refresh", "-q")
    assert library.asked["profile_model"][1]["refresh"]
    path = str(GOLDEN / "profile.v1.json")
    assert partkit("plan", path, "--refresh", "-q").err == (
        f"partkit: --refresh cannot measure the file {path} anew; leave it out, or name the model\n"
    )


def test_fewer_stages_than_were_asked_for_are_told_and_the_file_is_named_as_asked(partkit, library):
    detail = "the plan meets its lower bound; 0.5 samples/s with 2, against 0.49 samples/s with 3"
    library.plan = library.plan.model_copy(
        update={"planner": library.plan.planner.model_copy(update={"detail": detail})}
    )
    told = partkit("plan", "bert-tiny", "--stages", "3", "-q")
    assert told.code == 0
    assert told.err == (
        "warning: 3 stages were asked for, and the plan has 2, which are better: 0.5 samples/s with 2, against 0.49 "
        "samples/s with 3; add --exact for 3 all the same\n"
    )
    assert len(Plan.load("plans/bert-tiny3.json").stages) == 2
    partkit("plan", "bert-tiny", "--stages", "3", "--exact", "-q")
    assert library.asked["plan_as_asked"][2].exact_num_stages
    assert partkit("plan", "bert-tiny", "--exact", "-q").err == (
        "partkit: --exact needs a number of stages; add --stages N\n"
    )


def test_a_stage_that_has_nothing_to_do_is_told(partkit, library):
    idle = library.plan.stages[1].model_copy(update={"compute_s": 0.0, "nodes": ("output",)})
    library.plan = library.plan.model_copy(update={"stages": (library.plan.stages[0], idle)})
    told = partkit("plan", "bert-tiny", "--stages", "2", "-q")
    assert told.err == "warning: stage 1 computes next to nothing (1 node): --stages 1 does as well\n"


def test_pareto_and_measure_exclude_each_other(partkit, library):
    told = partkit("plan", "bert-tiny", "--pareto", "--measure")
    assert (told.code, told.err) == (
        2,
        "partkit: --pareto and --measure cannot go together; measure one plan of the list at a time\n",
    )


def test_no_feasible_plan_ends_with_4(partkit, library):
    library.plan = InfeasibleError("9 stages are more than the graph's 7 nodes", hint="ask for 7 or fewer")
    told = partkit("plan", "bert-tiny", "--stages", "9", "-q")
    assert (told.code, told.out) == (4, "")
    assert told.err == "partkit: 9 stages are more than the graph's 7 nodes; ask for 7 or fewer\n"


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("bert", "plans/bert2.json"),
        ("hf:/data/my checkpoint/", "plans/my-checkpoint2.json"),
        ("hf:google/bert", "plans/bert2.json"),
        ("timm:resnet50.a1", "plans/resnet50.a12.json"),
        ("py:a.b:c", "plans/a.b-c2.json"),
        ("pt2:exports/net.pt2", "plans/net2.json"),
        ("graph:diamond", "plans/diamond2.json"),
        ("graph:", "plans/model2.json"),
    ],
)
def test_a_plan_is_named_after_its_model_and_number_of_stages(source, path):
    plan = Plan.load(GOLDEN / "plan.v1.json").model_copy(update={"model": ModelSpec(source=source)})
    assert str(default_path(plan)) == path


def test_a_preset_is_not_taken_for_a_file_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bert").write_text("")
    (tmp_path / "graph").write_text("")
    assert not is_file("bert")
    assert is_file("./graph")
    assert is_file("anything.json")
    assert not is_file("hf:./graph")
