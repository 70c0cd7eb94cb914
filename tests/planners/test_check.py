"""A plan edited by hand is held to what its request demanded."""

from __future__ import annotations

import pytest

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.plan import Plan
from partkit.data.profile import Node, Profile
from partkit.errors import FormatError, InfeasibleError
from partkit.planners import PlanRequest, make_plan, repredict


def profile(**first):
    nodes = tuple(
        Node(name=f"n{i}", module=f"layer.{i // 2}.part{i}", time_s=1.0, output_bytes=4, **(first if i == 0 else {}))
        for i in range(6)
    )
    return Profile(nodes=nodes, edges=tuple((f"n{i}", f"n{i + 1}") for i in range(5)))


def box(count=3):
    return Cluster(devices=tuple(Device(name=f"d{i}") for i in range(count)), link=Link(bytes_per_s=100.0))


def edited(plan, nodes_by_stage, devices=None):
    data = plan.to_data()
    for stage, nodes in zip(data["stages"], nodes_by_stage, strict=True):
        stage["nodes"] = nodes
    for stage, own in zip(data["stages"], devices or [], strict=False):
        stage["devices"] = own
    return Plan.from_data(data, where="plan")


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        (
            {"keep_together": ("layer.1",)},
            "'n2' stands in stage 0 and 'n3' in stage 1, and they stay together (--keep-together 'layer.1')",
        ),
        (
            {"granularity": "layer"},
            "'n2' stands in stage 0 and 'n3' in stage 1, and they stay together (--granularity layer within 'layer.1')",
        ),
        ({"pins": {"n2": 1}}, "node 'n2' is pinned to stage 1 by 'n2' and stands in stage 0"),
    ],
)
def test_an_edit_against_a_demand_names_the_demand(asked, fault):
    plan = make_plan(profile(), box(), PlanRequest(num_stages=2, exact_num_stages=True, **asked))
    with pytest.raises(FormatError) as caught:
        repredict(edited(plan, [["n0", "n1", "n2"], ["n3", "n4", "n5"]]), profile())
    assert str(caught.value) == f"the plan does not fit its profile: {fault}; edit it or plan again"


def test_an_edit_that_parts_a_group_is_refused():
    grouped = profile(group="tied").model_copy(
        update={"nodes": (*profile(group="tied").nodes[:5], profile().nodes[5].model_copy(update={"group": "tied"}))}
    )
    free = make_plan(profile(), box(), PlanRequest(num_stages=2, exact_num_stages=True))
    with pytest.raises(FormatError) as caught:
        repredict(free, grouped)
    assert "'n0' stands in stage 0 and 'n5' in stage 1, and they stay together (group 'tied')" in str(caught.value)


def test_an_edit_may_not_use_more_devices_or_stages_than_were_allowed():
    plan = make_plan(profile(), box(), PlanRequest(num_stages=2))
    with pytest.raises(FormatError) as caught:
        repredict(edited(plan, [["n0", "n1", "n2"], ["n3", "n4", "n5"]], [[0], [1, 2]]), profile())
    assert "stage 1 runs on 2 devices and constraints.max_replicas allows 1" in str(caught.value)
    three = make_plan(profile(), box(), PlanRequest(num_stages=3))
    tight = three.model_copy(update={"constraints": plan.constraints})
    with pytest.raises(FormatError) as caught:
        repredict(tight, profile())
    assert "it has 3 stages and constraints.num_stages allows 2" in str(caught.value)


def test_a_plan_over_a_cap_names_stage_device_and_bytes():
    plan = make_plan(profile(param_bytes=50), box(2), PlanRequest(num_stages=2))
    capped = plan.constraints.model_copy(update={"memory_caps_bytes": {"0": 40}})
    with pytest.raises(InfeasibleError) as caught:
        repredict(plan.model_copy(update={"constraints": capped}), profile(param_bytes=50))
    assert str(caught.value) == (
        f"stage 0 needs {plan.stages[0].peak_bytes} B and device 0 ('d0') may hold 40 B; "
        "move nodes to other stages or raise the caps"
    )
