"""Local search: what runs stays runnable, and what does not is labelled."""

from __future__ import annotations

from hypothesis import given, settings

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.profile import Node, Profile
from partkit.planners import PlanRequest, make_plan
from partkit.planners.problem.problem import make_problem
from tests.planners.exhaustive import best_value
from tests.planners.instances import clusters, profiles

quick = settings(max_examples=60)


def box():
    return Cluster(devices=(Device(name="a"), Device(name="b")), link=Link(bytes_per_s=1e9))


@quick
@given(profiles(max_nodes=6), clusters(fanout="each", links=True))
def test_refined_plans_go_forward_and_are_no_better_than_the_best(profile, cluster):
    plan = make_plan(profile, cluster, PlanRequest(planner="refine"))
    assert (plan.contiguous, plan.executor) == (True, "pipeline")
    problem = make_problem(profile, cluster, PlanRequest())
    assert plan.prediction.period_s >= best_value(problem) * (1 - 1e-9)
    assert plan.bound.period_s <= best_value(problem) * (1 + 1e-9)


def test_stages_that_send_back_and_forth_are_labelled_and_name_no_executor():
    times = (1.0, 4.0, 4.0, 1.0, 6.0)
    nodes = tuple(Node(name=f"n{i}", time_s=seconds, output_bytes=1) for i, seconds in enumerate(times))
    profile = Profile(nodes=nodes, edges=tuple((f"n{i}", f"n{i + 1}") for i in range(4)))
    forward = make_plan(profile, box(), PlanRequest(num_stages=2))
    free = make_plan(profile, box(), PlanRequest(num_stages=2, contiguous=False))
    assert (forward.prediction.period_s, forward.contiguous, forward.executor) == (9.0, True, "pipeline")
    assert (free.prediction.period_s, free.contiguous, free.executor) == (8.0, False, "none")
    assert (free.bound.optimal, free.bound.proved_by) == (True, "total work over devices")
