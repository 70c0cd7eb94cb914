"""Planners against exhaustive search on small random graphs: what they prove must be so."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from partkit.errors import InfeasibleError
from partkit.planners import PlanRequest, make_plan, repredict
from partkit.planners.problem.problem import make_problem
from tests.planners.exhaustive import best_value
from tests.planners.instances import clusters, profiles

quick = settings(max_examples=150)


def check(profile, cluster, request, *, exact=True):
    """The plan is feasible, its bound is below the optimum, and the optimum where it says so; None: there is none."""
    problem = make_problem(profile, cluster, request)
    best = best_value(problem)
    try:
        plan = make_plan(profile, cluster, request)
    except InfeasibleError:
        assert best == float("inf")
        return None
    value = {
        "throughput": plan.prediction.period_s,
        "latency": plan.prediction.latency_s,
        "memory": max(stage.peak_bytes for stage in plan.stages),
    }[request.objective]
    bound = {"throughput": plan.bound.period_s, "latency": plan.bound.latency_s, "memory": plan.bound.peak_bytes}[
        request.objective
    ]
    assert value >= best - 1e-9, "a plan better than every plan"
    assert bound <= best + 1e-9, "a bound above the optimum"
    if exact:
        assert value == pytest.approx(best, rel=1e-9)
    if plan.bound.optimal:
        assert value == pytest.approx(best, rel=1e-9)
    assert sorted(plan.stage_by_node) == sorted(node.name for node in profile.nodes)
    assert not repredict(plan, profile).edited
    return plan


@quick
@given(profiles(max_nodes=7), clusters(fanout="once"), st.sampled_from(["ideals", "auto"]))
def test_ideals_are_optimal_on_uniform_devices(profile, cluster, planner):
    check(profile, cluster, PlanRequest(planner=planner))


@quick
@given(profiles(max_nodes=7, chain=True), clusters(fanout="once"))
def test_chain_is_optimal_on_chains_with_skips(profile, cluster):
    check(profile, cluster, PlanRequest(planner="chain"))


@quick
@given(profiles(max_nodes=6, groups=True), clusters(fanout="once", caps=True))
def test_ideals_are_optimal_under_memory_caps_with_groups(profile, cluster):
    check(profile, cluster, PlanRequest())


@quick
@given(profiles(max_nodes=5), clusters(fanout="once", unequal=True))
def test_ideals_are_optimal_on_unequal_devices(profile, cluster):
    check(profile, cluster, PlanRequest())


@quick
@given(profiles(max_nodes=5), clusters(fanout="once", unequal=True, caps=True))
def test_ideals_are_optimal_with_replicated_stages(profile, cluster):
    check(profile, cluster, PlanRequest(max_replicas=None))


@quick
@given(profiles(max_nodes=6), clusters(fanout="once", cores=True))
def test_ideals_are_optimal_where_devices_share_cores(profile, cluster):
    check(profile, cluster, PlanRequest())


@quick
@given(profiles(max_nodes=6), clusters(fanout="each"))
def test_ideals_are_optimal_where_each_reader_costs_the_sender(profile, cluster):
    check(profile, cluster, PlanRequest())


@quick
@given(profiles(max_nodes=5), clusters(links=True, unequal=True))
def test_ideals_are_optimal_on_unequal_devices_with_unequal_links(profile, cluster):
    check(profile, cluster, PlanRequest())


@quick
@given(profiles(max_nodes=5), clusters(links=True, caps=True), st.integers(1, 3))
def test_ideals_are_optimal_on_unequal_links_under_memory_caps(profile, cluster, num_stages):
    assume(num_stages <= min(len(cluster.devices), len(profile.nodes)))
    check(profile, cluster, PlanRequest(num_stages=num_stages))


@quick
@given(profiles(max_nodes=5), clusters(links=True, cores=True))
def test_unequal_links_beside_shared_cores_never_give_a_false_proof(profile, cluster):
    check(profile, cluster, PlanRequest(), exact=False)


@quick
@given(profiles(max_nodes=5), clusters(caps=True), st.sampled_from(["latency", "memory"]))
def test_other_objectives_never_give_a_false_proof(profile, cluster, objective):
    check(profile, cluster, PlanRequest(objective=objective), exact=False)


@quick
@given(profiles(max_nodes=5), clusters(fanout="once"), st.integers(0, 4), st.integers(0, 2), st.integers(1, 3))
def test_pins_are_met_at_the_best_period(profile, cluster, node, stage, num_stages):
    names = [entry.name for entry in profile.nodes]
    request = PlanRequest(pins={names[node % len(names)]: stage}, num_stages=None if num_stages > 2 else num_stages)
    try:
        make_problem(profile, cluster, request).all_blocks  # noqa: B018
    except InfeasibleError:
        with pytest.raises(InfeasibleError):
            make_plan(profile, cluster, request)
        return
    check(profile, cluster, request)


@quick
@given(profiles(max_nodes=5), clusters(), st.integers(1, 3))
def test_an_exact_number_of_stages_is_met(profile, cluster, num_stages):
    request = PlanRequest(num_stages=num_stages, exact_num_stages=True)
    if num_stages > min(len(cluster.devices), len(profile.nodes)):
        with pytest.raises(InfeasibleError, match=f"^{num_stages} stages need (at least )?{num_stages} "):
            make_plan(profile, cluster, request)
        return
    plan = check(profile, cluster, request)
    assert plan is None or len(plan.stages) == num_stages


@quick
@given(profiles(max_nodes=4), clusters(max_devices=4, fanout="once"), st.integers(2, 3), st.integers(1, 2))
def test_stages_have_no_more_devices_than_may_share_one(profile, cluster, max_replicas, num_stages):
    assume(num_stages <= min(len(cluster.devices), len(profile.nodes)))
    plan = check(profile, cluster, PlanRequest(max_replicas=max_replicas, num_stages=num_stages))
    assert max(len(stage.devices) for stage in plan.stages) <= max_replicas
    assert len(plan.stages) <= num_stages
