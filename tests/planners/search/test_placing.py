"""Device orders: islands of fast links are found wherever the cluster lists their devices."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from partkit.data.cluster import Cluster, Device, Link, PairLink
from partkit.data.profile import Node, Profile
from partkit.planners import PlanRequest, make_plan
from partkit.planners.algorithms import auto
from partkit.planners.problem.problem import make_problem
from partkit.planners.search import bottleneck, traffic_search
from tests.planners.exhaustive import best_value
from tests.planners.instances import clusters, profiles

quick = settings(max_examples=60)


def islands(num_devices, *fast):
    """Devices with slow links but for the pairs ``fast``."""
    both = [*fast, *((b, a) for a, b in fast)]
    return Cluster(
        devices=tuple(Device(name=f"d{i}") for i in range(num_devices)),
        link=Link(bytes_per_s=1.0),
        links=tuple(PairLink(source=a, target=b, bytes_per_s=100.0) for a, b in both),
        overlap=False,
    )


def row(sizes):
    nodes = tuple(Node(name=f"n{i}", time_s=10.0, output_bytes=size) for i, size in enumerate(sizes))
    return Profile(nodes=nodes, edges=tuple((f"n{i}", f"n{i + 1}") for i in range(len(sizes) - 1)))


@pytest.fixture(params=["exact search", "device orders", "swaps"])
def way(request, monkeypatch):
    """Each way to find a device order, alone."""
    if request.param != "exact search":
        monkeypatch.setattr(traffic_search, "MAX_VISITS", -1)
    if request.param == "swaps":
        monkeypatch.setattr("partkit.planners.search.placing.MAX_ORDERS", 0)


def test_large_values_go_over_fast_links_wherever_those_are(way):
    plan = make_plan(row([100, 1, 100, 0]), islands(4, (0, 2), (1, 3)), PlanRequest(num_stages=4))
    devices = [stage.devices[0] for stage in plan.stages]
    assert {frozenset(devices[:2]), frozenset(devices[2:])} == {frozenset({0, 2}), frozenset({1, 3})}
    assert plan.prediction.period_s == 12.0


def test_a_cut_moves_to_where_the_slow_link_costs_least(way):
    plan = make_plan(row([50, 50, 1, 50, 0]), islands(3, (0, 2)), PlanRequest(num_stages=3))
    problem = make_problem(row([50, 50, 1, 50, 0]), islands(3, (0, 2)), PlanRequest(num_stages=3))
    assert plan.prediction.period_s == pytest.approx(best_value(problem))


@quick
@given(profiles(max_nodes=5), clusters(links=True, unequal=True, caps=True))
def test_no_device_order_makes_a_plan_worse_or_breaks_a_bound(profile, cluster):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traffic_search, "MAX_VISITS", -1)
        patch.setattr(bottleneck, "_MAX_STATE_ENTRIES", 0)
        problem = make_problem(profile, cluster, PlanRequest())
        found = auto.plan(problem)
        patch.setattr(auto, "place", lambda problem, known: known)
        without = auto.plan(problem)
        best = best_value(problem)
    if found is None or without is None:
        assert found is without
        return
    assert best * (1 - 1e-9) <= found.costs.period_s <= without.costs.period_s * (1 + 1e-9)
    assert problem.fits(found.assignment, found.costs)
