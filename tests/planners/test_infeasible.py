"""What cannot be planned is refused in one sentence with the numbers and what would do."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, reject, settings

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.profile import Profile
from partkit.errors import FormatError, InfeasibleError, TooFewDevicesError
from partkit.planners import PlanRequest, make_plan
from partkit.planners.problem.problem import make_problem
from tests.planners.exhaustive import best_value
from tests.planners.instances import clusters, profiles

quick = settings(max_examples=80)


def row(count=3, **changes):
    nodes = [{"name": f"n{i}", "time_s": 1.0, "output_bytes": 4, "param_bytes": 10} | changes for i in range(count)]
    return {"kind": "profile", "nodes": nodes, "edges": [[f"n{i}", f"n{i + 1}"] for i in range(count - 1)]}


def box(count=2, memory_bytes=None):
    devices = tuple(Device(name=f"d{index}", memory_bytes=memory_bytes) for index in range(count))
    return Cluster(name="box", devices=devices, link=Link(bytes_per_s=100.0))


def refusal(data, cluster, request):
    with pytest.raises((FormatError, InfeasibleError)) as caught:
        make_plan(Profile.from_data(data, where="g.json"), cluster, request)
    return caught.value.exit_code, str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"edges": [["n0", "n1"], ["n1", "n2"], ["n2", "n0"]]},
            "the graph has a cycle of 3 nodes: n0 -> n1 -> n2 -> n0; remove one of these edges: a plan needs a graph "
            "without cycles",
        ),
        (
            {"nodes": [{"name": "n0", "time_s": -0.5}], "edges": []},
            "g.json is not a valid profile: nodes[0].time_s of 'n0': Input should be greater than or equal to 0, "
            "not -0.5; correct the file there",
        ),
        (
            {"nodes": [{"name": "n0", "time_s": float("nan")}], "edges": []},
            "g.json is not a valid profile: nodes[0].time_s of 'n0': Input should be a finite number, not nan; "
            "correct the file there",
        ),
        (
            {"edges": [["n0", "n7"]]},
            "g.json is not a valid profile: edge ['n0', 'n7'] names 'n7', which is no node; correct the file there",
        ),
        (
            {"nodes": [{"name": "n0", "time_s": 1.0}] * 2, "edges": []},
            "g.json is not a valid profile: nodes named more than once: n0; correct the file there",
        ),
    ],
)
def test_a_graph_that_is_none_is_refused_with_2(change, message):
    assert refusal(row() | change, box(), PlanRequest()) == (2, message)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"num_stages": 4},
            "4 stages need at least 4 nodes and the graph has 3; ask for at most 3 stages",
        ),
        (
            {"num_stages": 9},
            "9 stages need 9 devices and the cluster has 8; ask for at most 8 stages or name a larger cluster",
        ),
        (
            {"num_stages": 3, "granularity": "layer"},
            "3 stages need at least 3 nodes and the graph has 3 in 1 pieces that may be apart; ask for at most 1 "
            "stages",
        ),
        (
            {"pins": {"n0": 9}},
            "pin n0=9 names stage 9, and a plan may have stages 0 to 7 here; pin to one of those, or ask for more "
            "stages",
        ),
        (
            {"pins": {"n0": 1}},
            "stage 0 would have no node: by the pins and the graph's order each of the 3 nodes belongs to another "
            "stage; lower the pin n0=1, or drop the pins that empty stage 0",
        ),
        (
            {"pins": {"n0": 0, "n2": 2, "n1": 0}, "num_stages": 3},
            "stage 1 would have no node: by the pins and the graph's order each of the 3 nodes belongs to another "
            "stage; lower the pin n2=2, or drop the pins that empty stage 1",
        ),
        (
            {"pins": {"n0": 0, "n1": 1}, "keep_together": ("n[01]",)},
            "nodes 'n0' and 'n1' must stay together but are pinned to stages 0 and 1; pin both to one stage or loosen "
            "the group",
        ),
    ],
)
def test_a_request_that_no_plan_meets_is_refused_with_4(asked, message):
    assert refusal(row(module="layer.0"), box(8), PlanRequest(**asked)) == (4, message)


def test_caps_that_are_too_small_are_refused_with_the_smallest_that_fits():
    assert refusal(row(), box(2, memory_bytes=20), PlanRequest()) == (
        4,
        "the model does not fit: 30 B of parameters and buffers and its live values on at most 2 of 2 devices, of "
        "which device 0 ('d0') may hold 20 B; the smallest cap found to fit is 36 bytes (36 B) on devices 0, 1; else "
        "use a smaller batch",
    )


SIX = row(6, param_bytes=100, output_bytes=1)
NEEDS = "graph:unnamed needs 614 B (600 B of it parameters and buffers), and "


@pytest.mark.parametrize(
    ("cluster", "asked", "message"),
    [
        (
            box(2, memory_bytes=230),
            {},
            f"{NEEDS}2 devices of 230 B hold 460 B: 3 such devices do, with 206 B on the fullest; ask for 3 stages, of "
            "a cluster with 3 such devices",
        ),
        (
            box(8, memory_bytes=230),
            {"num_stages": 1},
            f"{NEEDS}1 device of 230 B holds 230 B: 3 such devices do, with 206 B on the fullest; ask for 3 stages",
        ),
        (
            box(2),
            {"num_stages": 2, "memory_caps_bytes": {0: 230, 1: 230}, "exact_num_stages": True},
            f"{NEEDS}2 devices of 230 B hold 460 B: 3 such devices do, with 206 B on the fullest; ask for 3 stages, of "
            "a cluster with 3 such devices",
        ),
    ],
)
def test_too_few_devices_are_refused_with_the_number_that_would_do(cluster, asked, message):
    assert refusal(SIX, cluster, PlanRequest(**asked)) == (4, message)


def test_what_no_cut_fills_is_said_where_the_bytes_alone_would_do():
    data = row(3, param_bytes=100, output_bytes=1)
    assert refusal(data, box(2, memory_bytes=170), PlanRequest()) == (
        4,
        "graph:unnamed needs 311 B (300 B of it parameters and buffers), and 2 devices of 170 B hold 340 B, which no "
        "cut fills: 3 such devices do, with 105 B on the fullest; ask for 3 stages, of a cluster with 3 such devices",
    )


def test_unequal_devices_are_told_what_is_lacking_in_all():
    devices = (Device(name="big", memory_bytes=400), Device(name="small", memory_bytes=100))
    cluster = Cluster(name="mixed", devices=devices, link=Link(bytes_per_s=100.0))
    assert refusal(SIX, cluster, PlanRequest()) == (
        4,
        "the model does not fit: 600 B of parameters and buffers and its live values on at most 2 of 2 devices, of "
        "which device 1 ('small') may hold 100 B; 100 B are lacking in all; the smallest cap found to fit is 304 bytes "
        "(304 B) on device 1; else use more devices or a smaller batch",
    )


def test_more_devices_of_a_host_bring_it_no_memory():
    shared = box(2, memory_bytes=230).model_copy(update={"shared_cores": 2.0})
    code, text = refusal(SIX, shared, PlanRequest())
    assert (code, text.partition(";")[0]) == (
        4,
        "the model does not fit: 600 B of parameters and buffers and its live values on at most 2 of 2 devices, of "
        "which device 0 ('d0') may hold 230 B",
    )


@quick
@given(profiles(max_nodes=5), clusters(fanout="once", caps=True))
def test_the_cap_or_number_that_is_named_fits_and_one_less_does_not(profile, cluster):
    try:
        make_plan(profile, cluster, PlanRequest())
        reject()
    except TooFewDevicesError as error:
        for count, is_feasible in ((error.num_devices, True), (error.num_devices - 1, False)):
            problem = make_problem(profile, cluster.with_devices(count), PlanRequest())
            assert (best_value(problem) < float("inf")) == is_feasible
        return
    except InfeasibleError as error:
        needed = int(re.search(r"found to fit is (\d+) bytes", str(error)).group(1))
    for floor, is_feasible in ((needed, True), (needed - 1, False)):
        caps = {index: max(device.memory_bytes, floor) for index, device in enumerate(cluster.devices)}
        problem = make_problem(profile, cluster, PlanRequest(memory_caps_bytes=caps))
        assert (best_value(problem) < float("inf")) == is_feasible
