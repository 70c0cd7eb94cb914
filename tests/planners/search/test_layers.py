"""The search by layers against every plan, with nothing left to the programmes that follow it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.profile import Node, Profile
from partkit.planners import PlanRequest
from partkit.planners.algorithms import ideals
from partkit.planners.problem.problem import make_problem
from partkit.planners.search import layers
from partkit.planners.search.layers import LayerSearch, has_layers
from partkit.planners.search.windows import cut_windows, downsets_within
from tests.planners.exhaustive import assignments, best_value
from tests.planners.instances import clusters, profiles
from tests.planners.search.test_downsets import as_sets, quick


def narrowed(problem, upper_s):
    blocks = problem.all_blocks
    windows = cut_windows(problem, blocks, upper_s)
    found = [downsets_within(blocks, problem.best_link, window, 1000) for window in windows]
    return LayerSearch.of(problem, blocks).narrow(found, upper_s)


@quick
@given(profiles(max_nodes=6), clusters(fanout="once"), st.sampled_from([1.0, 1.3]), st.booleans())
def test_the_layers_prove_the_best_period_and_keep_all_plans_that_have_it(profile, cluster, above, exactly):
    count = len(cluster.devices)
    assume(count <= len(profile.nodes))
    problem = make_problem(profile, cluster, PlanRequest(num_stages=count, exact_num_stages=exactly))
    assume(problem.all_blocks.num_blocks >= count)
    best_s = best_value(problem)
    assume(0 < best_s < np.inf)
    found = narrowed(problem, best_s * above * (1 + 1e-9))
    assert found.bound_s == pytest.approx(best_s, rel=1e-9)
    kept = as_sets(found.members)
    first = np.unique(problem.all_blocks.block_of, return_index=True)[1]
    for assignment in assignments(problem):
        if problem.costs(assignment).period_s <= best_s * (1 + 1e-12):
            stage = assignment.stage_of[first]
            cuts = [tuple(np.flatnonzero(stage < cut).tolist()) for cut in range(1, assignment.num_stages)]
            assert set(cuts) <= kept


@quick
@given(profiles(max_nodes=6), clusters(fanout="each"))
def test_where_each_reader_costs_the_sender_the_layers_are_a_bound(profile, cluster):
    problem = make_problem(profile, cluster, PlanRequest())
    best_s = best_value(problem)
    assume(best_s > 0)
    assert narrowed(problem, best_s * (1 + 1e-9)).bound_s <= best_s * (1 + 1e-9)


@quick
@given(profiles(max_nodes=6), clusters(fanout="once"))
def test_there_is_no_plan_below_the_best(profile, cluster):
    problem = make_problem(profile, cluster, PlanRequest())
    best_s = best_value(problem)
    assume(best_s > 0)
    assert narrowed(problem, best_s * (1 - 1e-6)) is None


@settings(parent=quick, max_examples=150)
@given(profiles(max_nodes=7), clusters(), st.booleans())
def test_the_exact_search_by_layers_finds_the_best_plan(profile, cluster, exactly):
    count = len(cluster.devices)
    assume(count <= len(profile.nodes))
    problem = make_problem(profile, cluster, PlanRequest(num_stages=count, exact_num_stages=exactly))
    assert has_layers(problem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ideals, "MAX_EASY", 0)
        found = ideals.plan(problem)
    assert found.covers_all
    assert found.costs.period_s == pytest.approx(best_value(problem), rel=1e-9)
    assert found.bound <= best_value(problem) * (1 + 1e-9)


def test_too_many_pairs_are_given_up(monkeypatch):
    nodes = tuple(Node(name=f"n{i}", time_s=1.0) for i in range(6))
    cluster = Cluster(devices=tuple(Device(name=f"d{i}") for i in range(3)), link=Link(bytes_per_s=1.0))
    problem = make_problem(Profile(nodes=nodes, edges=()), cluster, PlanRequest())
    assert narrowed(problem, 2.0).bound_s == 2.0
    monkeypatch.setattr(layers, "MAX_PAIRS", 15 + 15 * 15 - 1)
    assert narrowed(problem, 2.0) is None
