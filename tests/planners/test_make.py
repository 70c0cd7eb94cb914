"""The planner's front door: feasibility, errors in full, explanations, feedback, clusters."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, reject, settings

from partkit.data.builtin_clusters import builtin_cluster, builtin_cluster_names
from partkit.data.cluster import Cluster, Device, Link
from partkit.data.profile import Node, Profile
from partkit.errors import FormatError, InfeasibleError, MismatchError, UsageError
from partkit.planners import PLANNERS, PlanRequest, explain_cuts, make_plan, pareto, repredict, rescale
from tests.planners.instances import clusters, profiles

quick = settings(max_examples=60)


def row(times=(1.0, 2.0, 3.0, 2.0), **changes):
    nodes = tuple(
        Node(
            name=f"n{index}",
            module=f"encoder.layer.{index}.fc",
            time_s=seconds,
            output_bytes=4,
            param_bytes=10,
            **changes,
        )
        for index, seconds in enumerate(times)
    )
    return Profile(nodes=nodes, edges=tuple((f"n{i}", f"n{i + 1}") for i in range(len(times) - 1)))


def box(count=2, memory_bytes=None, **changes):
    devices = tuple(Device(name=f"d{index}", memory_bytes=memory_bytes) for index in range(count))
    return Cluster(devices=devices, link=Link(bytes_per_s=100.0), **changes)


@pytest.mark.parametrize("planner", PLANNERS)
def test_every_planner_places_every_node_once(planner):
    plan = make_plan(row(), box(), PlanRequest(num_stages=2, planner=planner))
    assert sorted(name for stage in plan.stages for name in stage.nodes) == ["n0", "n1", "n2", "n3"]
    assert [entry.planner for entry in plan.alternatives] == ["even", "by_params"]


@quick
@given(profiles(max_nodes=7), clusters(max_devices=3))
def test_more_devices_never_make_a_plan_worse(profile, cluster):
    request = PlanRequest()
    fewer = cluster.model_copy(update={"devices": cluster.devices[:1]})
    periods = [make_plan(profile, each, request).prediction.period_s for each in (fewer, cluster)]
    assert periods[1] <= periods[0] * (1 + 1e-9)


@quick
@given(profiles(max_nodes=6), clusters(fanout="once", caps=True))
def test_looser_caps_never_make_a_plan_worse(profile, cluster):
    loose = cluster.model_copy(
        update={"devices": tuple(d.model_copy(update={"memory_bytes": 1000}) for d in cluster.devices)}
    )
    try:
        tight = make_plan(profile, cluster, PlanRequest()).prediction.period_s
    except InfeasibleError:
        reject()
    assert make_plan(profile, loose, PlanRequest()).prediction.period_s <= tight * (1 + 1e-9)


@pytest.mark.parametrize(
    ("request_", "cluster", "error", "message"),
    [
        (
            PlanRequest(num_stages=3),
            box(2),
            InfeasibleError,
            "3 stages need 3 devices and the cluster has 2; ask for at most 2 stages or name a larger cluster",
        ),
        (
            PlanRequest(num_stages=5),
            box(8),
            InfeasibleError,
            "5 stages need at least 5 nodes and the graph has 4; ask for at most 4 stages",
        ),
        (PlanRequest(num_stages=0), box(), UsageError, "0 stages were asked for; ask for at least 1, or for 'auto'"),
        (
            PlanRequest(),
            box(2, memory_bytes=5),
            InfeasibleError,
            "the model does not fit: 40 B of parameters and buffers and its live values on at most 2 of 2 devices, "
            "of which device 0 ('d0') may hold 5 B; the smallest cap found to fit is 36 bytes (36 B) on devices 0, 1; "
            "else use a smaller batch",
        ),
        (
            PlanRequest(pins={"n0": 1, "encoder.layer.2": 0}),
            box(),
            InfeasibleError,
            "node 'n0' is pinned to stage 1 and node 'n2', which depends on it, to the earlier stage 0; "
            "values go to later stages only: swap or drop one of the pins",
        ),
        (
            PlanRequest(pins={"n0": 1, "n.": 0}),
            box(),
            InfeasibleError,
            "node 'n0' is pinned to stage 1 by 'n0' and to stage 0 by 'n.'; make the patterns disjoint",
        ),
        (
            PlanRequest(pins={"nothing": 0}),
            box(),
            UsageError,
            "--pin 'nothing' matches no node; give the start of a module path, as 'encoder.layer.0'",
        ),
        (
            PlanRequest(planner="best"),
            box(),
            UsageError,
            f"there is no planner 'best'; choose one of {', '.join(PLANNERS)}",
        ),
    ],
)
def test_a_request_that_cannot_be_met_says_why_and_what_would_do(request_, cluster, error, message):
    with pytest.raises(error) as caught:
        make_plan(row(), cluster, request_)
    assert str(caught.value) == message


def test_a_pin_by_module_path_does_not_match_longer_numbers():
    plan = make_plan(row([1.0] * 12), box(), PlanRequest(pins={"layer.1": 0}, num_stages=2))
    assert plan.stage_by_node["n1"] == 0
    assert {stage.index for stage in plan.stages} == {0, 1}


def test_granularity_layer_keeps_layers_whole():
    nodes = tuple(Node(name=f"n{i}", module=f"m.layer.{i // 3}.x", time_s=1.0) for i in range(9))
    profile = Profile(nodes=nodes, edges=tuple((f"n{i}", f"n{i + 1}") for i in range(8)))
    plan = make_plan(profile, box(), PlanRequest(num_stages=2, granularity="layer"))
    assert sorted(len(stage.nodes) for stage in plan.stages) == [3, 6]


def test_keep_together_keeps_matching_modules_on_one_stage():
    plan = make_plan(row(), box(3), PlanRequest(keep_together=(r"encoder\.layer\.[12]",)))
    assert plan.stage_by_node["n1"] == plan.stage_by_node["n2"]


def test_one_heavy_node_leaves_devices_idle_and_says_so():
    plan = make_plan(row((9.0, 1.0, 1.0)), box(3), PlanRequest(num_stages=3))
    assert len(plan.stages) == 2
    assert plan.planner.detail.endswith("2 of at most 3 stages are best")
    assert plan.bound.optimal


def test_latency_alone_needs_one_device_and_a_cap_may_need_more():
    assert len(make_plan(row(), box(4), PlanRequest(objective="latency")).stages) == 1
    capped = make_plan(row(), box(4, memory_bytes=40), PlanRequest(objective="latency"))
    assert len(capped.stages) == 2


def test_replication_beats_a_node_that_cannot_be_cut():
    plan = make_plan(row((1.0, 8.0)), box(3), PlanRequest(max_replicas=None))
    assert [len(stage.devices) for stage in plan.stages] in ([1, 2], [3])
    assert plan.prediction.period_s == pytest.approx(3.0)


def test_pareto_plans_trade_period_for_latency():
    plans = pareto(row(), box(4), PlanRequest())
    points = [(plan.prediction.period_s, plan.prediction.latency_s) for plan in plans]
    assert points == sorted(points)
    assert [latency for _, latency in points] == sorted((latency for _, latency in points), reverse=True)
    assert points[-1] == (8.0, 8.0)


def test_explanations_say_what_crosses_and_what_a_move_would_do():
    (cut,) = explain_cuts(make_plan(row(), box(), PlanRequest(num_stages=2)), row())
    assert [(value.name, value.bytes, value.targets) for value in cut.values] == [("n1", 4, (1,))]
    assert (cut.compute_before_s, cut.compute_after_s) == (3.0, 5.0)
    assert (cut.earlier.node, cut.earlier.period_s) == ("n1", 7.0)
    assert (cut.later.node, cut.later.period_s) == ("n2", 6.0)


def test_rescaled_profiles_sum_to_what_was_measured():
    profile = row()
    plan = make_plan(profile, box(), PlanRequest(num_stages=2))
    again = rescale(profile, plan, [6.0, 5.0])
    assert [node.time_s for node in again.nodes] == [2.0, 4.0, 3.0, 2.0]
    with pytest.raises(MismatchError, match="1 stage times were given for a plan of 2 stages"):
        rescale(profile, plan, [1.0])


def test_a_plan_edited_by_hand_is_predicted_anew_and_marked():
    plan = make_plan(row(), box(), PlanRequest(num_stages=2))
    data = plan.to_data()
    data["stages"][1]["nodes"].remove("n2")
    data["stages"][0]["nodes"].append("n2")
    fresh = repredict(type(plan).from_data(data, where="plan"), row())
    assert (fresh.edited, fresh.prediction.period_s, fresh.bound.optimal) == (True, 6.0, False)
    assert fresh.bound.gap == pytest.approx(0.2)


def test_all_faults_of_an_edited_plan_are_named():
    plan = make_plan(row(), box(), PlanRequest(num_stages=2))
    data = plan.to_data()
    data["stages"][0]["nodes"] = ["n0", "n9"]
    with pytest.raises(FormatError) as caught:
        repredict(type(plan).from_data(data, where="plan"), row())
    assert "node 'n1' stands in no stage; node 'n9' is not in the profile" in str(caught.value)


@pytest.mark.parametrize("name", builtin_cluster_names())
def test_builtin_clusters_cite_their_figures(name):
    cluster = builtin_cluster(name)
    assert cluster.name == name
    counts = name.partition("-")[0].split("x")  # 2x4: two hosts of four
    assert len(cluster.devices) == math.prod(int(count) for count in counts if count)
    assert cluster.citation
