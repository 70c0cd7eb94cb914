"""The frontier of throughput against latency, against all plans of small chains."""

from __future__ import annotations

import itertools

from hypothesis import given, settings

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.profile import Node, Profile
from partkit.planners import PlanRequest, pareto
from partkit.planners.problem.problem import make_problem
from tests.planners.exhaustive import assignments
from tests.planners.instances import clusters, profiles

quick = settings(max_examples=60)


@quick
@given(profiles(max_nodes=6, chain=True), clusters(fanout="once"))
def test_no_plan_of_a_chain_beats_the_frontier_in_both(profile, cluster):
    names = [node.name for node in profile.nodes]
    profile = profile.model_copy(update={"edges": tuple(itertools.pairwise(names))})
    plans = pareto(profile, cluster, PlanRequest())
    points = [(plan.prediction.period_s, plan.prediction.latency_s) for plan in plans]
    problem = make_problem(profile, cluster, PlanRequest())
    for assignment in assignments(problem):
        costs = problem.costs(assignment)
        assert any(period <= costs.period_s + 1e-5 and latency <= costs.latency_s + 1e-5 for period, latency in points)


def test_a_graph_with_more_cuts_than_fit_a_table_has_a_frontier_too():
    nodes = tuple(Node(name=f"n{i}", time_s=1.0, output_bytes=1) for i in range(2_500))
    profile = Profile(nodes=nodes, edges=tuple((f"n{i}", f"n{i + 1}") for i in range(2_499)))
    cluster = Cluster(devices=(Device(name="a"), Device(name="b")), link=Link(bytes_per_s=1.0))
    points = [(plan.prediction.period_s, plan.prediction.latency_s) for plan in pareto(profile, cluster, PlanRequest())]
    assert (points[0], points[-1]) == ((1250.0, 2501.0), (2500.0, 2500.0))
