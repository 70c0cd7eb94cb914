"""What crosses between stages, against trying every way to recompute, and on real models."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.plan import Plan, Stage
from partkit.data.profile import Node, Profile
from partkit.errors import MismatchError
from partkit.models.capture import Capture, capture
from partkit.models.sources import load_model, parse_model
from partkit.planners import PlanRequest, make_plan, repredict
from partkit.planners.costs.cost import Assignment, evaluate
from partkit.planners.costs.graph import Graph, build_graph
from partkit.planners.costs.sending import (
    RECOMPUTE_WEIGHT,
    Aim,
    Sending,
    cheapest_copies,
    cheapest_sending,
    with_copies,
)
from partkit.stages.cut import cut, cut_plan
from tests.planned import even_cut
from tests.planners.instances import clusters
from tests.split_run import profile_of, reference, run_stages, same_bits

quick = settings(max_examples=200)


@st.composite
def repeatable_profiles(draw, max_nodes=8):
    count = draw(st.integers(2, max_nodes))
    nodes = tuple(
        Node(
            name=f"n{index}",
            time_s=draw(st.sampled_from([0.0, 0.1, 1.0, 3.0])),
            output_bytes=draw(st.sampled_from([0, 1, 2, 5, 20])),
            repeatable=index > 0 and draw(st.booleans()),
            parameters=("p",) if draw(st.integers(0, 5)) == 0 else (),
        )
        for index in range(count)
    )
    edges = [(f"n{a}", f"n{b}") for b in range(1, count) for a in range(b) if draw(st.integers(0, 9)) < 4]
    return Profile(nodes=nodes, edges=tuple(edges), parameters={"p": 6})


@st.composite
def placed(draw):
    """A graph, a cluster and stages that values only go forward through."""
    graph = build_graph(draw(repeatable_profiles()))
    cluster = draw(clusters(unequal=True, links=True))
    count = min(len(cluster.devices), graph.num_nodes)
    cuts = sorted(draw(st.sets(st.integers(1, graph.num_nodes - 1), min_size=count - 1, max_size=count - 1)))
    stage_of = np.searchsorted(cuts, np.arange(graph.num_nodes), side="right")
    return graph, cluster, Assignment(stage_of, tuple((device,) for device in range(count)))


def price(graph: Graph, cluster: Cluster, assignment: Assignment, stage: int, copies: set[int]) -> float:
    """Seconds of sending to ``stage`` and of recomputing ``copies`` there, from the definition."""
    need = {
        source
        for source, target in zip(graph.use_source.tolist(), graph.use_target.tolist(), strict=True)
        if assignment.stage_of[target] == stage or target in copies
    }
    sent = {node for node in need if assignment.stage_of[node] != stage} - copies
    here = assignment.devices[stage][0]
    links = {node: cluster.link_between(assignment.devices[assignment.stage_of[node]][0], here) for node in sent}
    again_s = sum(graph.time_s[node] for node in copies) / cluster.devices[here].speed
    return sum(links[node].transfer_s(graph.output_bytes[node]) for node in sent) + RECOMPUTE_WEIGHT * again_s


def allowed(graph: Graph, assignment: Assignment, stage: int) -> list[int]:
    """Nodes of other stages that ``stage`` may recompute with what it holds."""
    held = [set(graph.held_holding[graph.held_node == node].tolist()) for node in range(graph.num_nodes)]
    here = set().union(*(held[node] for node in np.flatnonzero(assignment.stage_of == stage)))
    others = np.flatnonzero(assignment.stage_of != stage).tolist()
    return [node for node in others if graph.nodes[node].repeatable and held[node] <= here]


@quick
@given(placed())
def test_a_reader_gets_what_it_needs_at_the_least_price(case):
    graph, cluster, assignment = case
    for stage in range(assignment.num_stages):
        chosen = set(cheapest_copies(graph, cluster, assignment, stage))
        may = allowed(graph, assignment, stage)
        assert chosen <= set(may)
        subsets = (set(each) for size in range(len(may) + 1) for each in itertools.combinations(may, size))
        best = min(price(graph, cluster, assignment, stage, subset) for subset in subsets)
        assert price(graph, cluster, assignment, stage, chosen) == pytest.approx(best)


@quick
@given(placed(), st.sampled_from(["throughput", "latency", "memory"]))
def test_no_plan_is_worse_for_recomputing(case, objective):
    graph, cluster, assignment = case
    aim = Aim(objective)
    before = Sending(graph, assignment, evaluate(graph, cluster, assignment))
    after = cheapest_sending(graph, cluster, assignment, aim)
    assert aim.rank(after)[0] <= aim.rank(before)[0] * (1 + 1e-12)
    again = with_copies(graph, cluster, assignment, after.copies)
    assert again.costs.period_s == after.costs.period_s


def mask_profile(time_s: float = 0.001, **changes: bool) -> Profile:
    """A small mask, the wide one made of it, and two layers that use the wide one."""
    nodes = (
        Node(name="x", op="input", time_s=0.0, output_bytes=8),
        Node(name="mask", op="input", time_s=0.0, output_bytes=1),
        Node(name="wide", time_s=time_s, output_bytes=100, **({"repeatable": True} | changes)),
        Node(name="first", time_s=1.0, output_bytes=8),
        Node(name="second", time_s=1.0, output_bytes=8),
    )
    edges = (("mask", "wide"), ("wide", "first"), ("x", "first"), ("first", "second"), ("wide", "second"))
    return Profile(nodes=nodes, edges=edges)


def two_devices(**changes: object) -> Cluster:
    devices = (Device(name="a"), Device(name="b"))
    return Cluster(devices=devices, link=Link(bytes_per_s=1000.0), **changes)


def test_a_small_mask_is_sent_and_the_wide_one_rebuilt():
    plan = make_plan(mask_profile(), two_devices(overlap=False), PlanRequest(num_stages=2))
    first, second = plan.stages
    assert [(send.to, send.values, send.bytes) for send in first.sends] == [(1, ("mask", "first"), 9)]
    assert (first.recomputes, second.recomputes) == ((), ("wide",))
    assert (first.compute_s, second.compute_s) == (1.001, 1.001)
    assert plan.prediction.period_s == pytest.approx(1.001 + 0.009)
    assert not repredict(plan, mask_profile()).edited


@pytest.mark.parametrize("profile", [mask_profile(repeatable=False), mask_profile(time_s=0.2)])
def test_what_is_slow_or_not_the_same_again_is_sent(profile):
    plan = make_plan(profile, two_devices(overlap=False), PlanRequest(num_stages=2))
    assert plan.stages[0].sends[0].values == ("wide", "first")
    assert plan.stages[1].recomputes == ()


def test_a_plan_below_the_bound_of_plans_that_recompute_nothing_is_not_called_the_best():
    plan = make_plan(mask_profile(), two_devices(overlap=False), PlanRequest(num_stages=2))
    assert (plan.bound.proved_by, plan.bound.optimal) == ("total work over devices", False)
    assert plan.bound.period_s == pytest.approx(2.001 / 2)


def test_a_node_that_only_readers_compute_costs_its_own_stage_nothing():
    graph = build_graph(mask_profile())
    assignment = Assignment(np.array([0, 0, 0, 1, 1]), ((0,), (1,)))
    sending = with_copies(graph, two_devices(), assignment, [(2, 1)])
    assert [node.name for node in sending.graph.nodes] == ["x", "mask", "wide", "first", "second"]
    assert sending.assignment.stage_of.tolist() == [0, 0, 1, 1, 1]
    assert sending.costs.compute_s.tolist() == [0.0, 2.001]


def plan_by_nodes(captured: Capture, num_stages: int) -> Plan:
    """Stages of as many nodes each, over a link that makes sending dear."""
    devices = tuple(Device(name=f"d{index}") for index in range(num_stages))
    stage_by_node = even_cut(captured, num_stages)
    stages = tuple(
        Stage(index=index, devices=(index,), nodes=tuple(n for n, stage in stage_by_node.items() if stage == index))
        for index in range(num_stages)
    )
    cluster = Cluster(devices=devices, link=Link(bytes_per_s=1e7, latency_s=1e-5), overlap=False)
    return repredict(Plan(model=captured.spec, cluster=cluster, stages=stages), profile_of(captured))


MASKED = ("attention_mask=1x128:int64",)


@pytest.mark.parametrize(
    ("source", "inputs", "num_stages"),
    [
        ("bert-tiny", MASKED, 2),
        ("bert-tiny", MASKED, 4),
        ("py:tests.awkward_models:attention", (), 3),
        ("py:tests.awkward_models:strange_strides", (), 3),
        ("py:tests.awkward_models:integers_and_booleans", (), 3),
        ("py:tests.awkward_models:experts", (), 3),
    ],
)
def test_stages_send_what_the_plan_says_and_give_the_same_bits(
    source: str, inputs: tuple[str, ...], num_stages: int
) -> None:
    loaded = load_model(parse_model(source, inputs=inputs))
    captured = capture(loaded)
    plan = plan_by_nodes(captured, num_stages)
    assert any(stage.recomputes for stage in plan.stages)
    stages = cut_plan(captured, plan)
    planned = [{send.to: (send.values, send.bytes) for send in stage.sends} for stage in plan.stages]
    assert [
        {to: (tuple(v.name for v in values), sum(v.num_bytes for v in values)) for to, values in stage.sends.items()}
        for stage in stages
    ] == planned
    assert same_bits(run_stages(loaded, captured, stages), reference(loaded))


def test_bert_with_a_mask_sends_128_bytes_of_it_and_rebuilds_the_rest() -> None:
    captured = capture(load_model(parse_model("bert-tiny", inputs=MASKED)))
    plan = plan_by_nodes(captured, 2)
    (send,) = plan.stages[0].sends
    sizes = {node.name: node.output_bytes for node in profile_of(captured).nodes}
    assert {name: sizes[name] for name in send.values} == {"index": 128, "layer_norm_1": 65536, "linear_5": 65536}
    assert plan.stages[1].recomputes == ("and_2", "expand_2")
    assert sizes["expand_2"] == 128 * 128


def test_a_plan_that_recomputes_what_would_not_be_the_same_again_is_refused() -> None:
    captured = capture(load_model(parse_model("bert-tiny")))
    with pytest.raises(MismatchError) as raised:
        cut(captured, even_cut(captured, 2), 2, recomputes={1: {"input_ids"}})
    assert raised.value.message == ("the plan recomputes 'input_ids' of bert-tiny, which gives no such value again")


def test_stale_hints_of_a_plan_edited_by_hand_do_no_harm() -> None:
    loaded = load_model(parse_model("bert-tiny", inputs=MASKED))
    captured = capture(loaded)
    plan = plan_by_nodes(captured, 2)
    moved = even_cut(captured, 5)
    stage_by_node = {name: int(stage > 0) for name, stage in moved.items()}
    stages = cut(captured, stage_by_node, 2, recomputes=plan.recomputes_by_stage)
    assert same_bits(run_stages(loaded, captured, stages), reference(loaded))
