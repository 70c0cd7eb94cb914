"""The bounds that need no search, against trying every plan and every stage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings

from partkit.planners import PlanRequest
from partkit.planners.costs.cost import Assignment, combine
from partkit.planners.problem.problem import make_problem
from partkit.planners.proofs.bounds import simple_bound, surroundings_s
from tests.planners.exhaustive import best_value
from tests.planners.instances import clusters, profiles

quick = settings(max_examples=80)


@quick
@given(profiles(max_nodes=5), clusters(unequal=True, links=True, cores=True))
@pytest.mark.parametrize("objective", ["throughput", "latency", "memory"])
def test_no_plan_goes_below_the_simple_bound(objective, profile, cluster):
    problem = make_problem(profile, cluster, PlanRequest(objective=objective))
    assert simple_bound(problem).value <= best_value(problem) * (1 + 1e-9)


@quick
@given(profiles(max_nodes=6), clusters(max_devices=1, fanout="once"))
def test_the_cheapest_surroundings_are_those_of_the_best_set_of_blocks(profile, cluster):
    problem = make_problem(profile, cluster, PlanRequest())
    blocks = problem.blocks
    three = cluster.model_copy(update={"devices": cluster.devices * 3, "overlap": False})
    wide = make_problem(profile, three, PlanRequest())
    found = surroundings_s(problem, range(blocks.num_blocks))
    for block in range(blocks.num_blocks):
        others = [other for other in range(blocks.num_blocks) if other != block]
        stages = [{block, *some} for count in range(len(others) + 1) for some in itertools.combinations(others, count)]
        cheapest = min(stage_s(wide, blocks, stage) for stage in stages)
        assert found[block] == pytest.approx(cheapest, rel=1e-6)


def stage_s(problem, blocks, stage):
    """Seconds of one stage, all else being on one other stage: compute, send and receive together."""
    stage_of = np.where(np.isin(blocks.block_of, list(stage)), 0, 1)
    if stage_of.all() or not stage_of.any():
        return float(blocks.time_s[list(stage)].sum())
    costs = problem.costs(Assignment(stage_of, ((0,), (1,))))
    return float(combine(costs.compute_s, costs.send_s, costs.receive_s, overlap=False)[0])
