"""Downsets of a window against trying every subset, and windows against every plan."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from partkit.data.cluster import Link
from partkit.data.profile import Node, Profile
from partkit.planners import PlanRequest
from partkit.planners.costs.graph import build_graph
from partkit.planners.problem.blocks import make_blocks
from partkit.planners.problem.problem import make_problem
from partkit.planners.search.windows import Window, cut_windows, downsets_within
from tests.planners.exhaustive import assignments
from tests.planners.instances import clusters, profiles
from tests.planners.search.test_downsets import all_downsets, as_sets, quick

LINK = Link(bytes_per_s=4.0, latency_s=0.1)


def crossing_s(blocks, members):
    """Seconds of the values made in ``members`` that a block outside uses."""
    values = [
        value
        for value, readers in blocks.readers.items()
        if blocks.block_of[value] in members and not set(readers) <= set(members)
    ]
    return sum(LINK.latency_s + blocks.graph.output_bytes[value] / LINK.bytes_per_s for value in values)


@quick
@given(profiles(max_nodes=7), st.floats(0, 16), st.floats(0, 16), st.floats(0, 12), st.sampled_from([0.0, 0.5, 1.0]))
def test_a_window_gives_the_downsets_that_keep_to_it_and_no_other(profile, before_s, after_s, most_s, weight):
    blocks = make_blocks(build_graph(profile), PlanRequest(), fuse_idle=False)
    wanted = set()
    for members in all_downsets(blocks):
        inside_s, crosses_s = blocks.time_s[list(members)].sum(), crossing_s(blocks, members)
        outside_s = blocks.time_s.sum() - inside_s
        limits = (
            before_s - inside_s - weight * crosses_s,
            after_s - outside_s - weight * crosses_s,
            most_s - crosses_s,
        )
        assume(min(map(abs, limits)) > 1e-9)
        if min(limits) >= 0 and (members or not blocks.has_input):
            wanted.add(members)
    rows = downsets_within(blocks, LINK, Window(before_s, after_s, most_s, weight), 1000)
    assert len(rows) == len(as_sets(rows))
    assert as_sets(rows) == wanted


@quick
@given(profiles(max_nodes=5), clusters(unequal=True, links=True, cores=True), st.sampled_from([1, 2]))
def test_no_plan_cuts_outside_the_windows_of_its_period(profile, cluster, max_replicas):
    problem = make_problem(profile, cluster, PlanRequest(max_replicas=max_replicas))
    blocks = problem.all_blocks
    for assignment in assignments(problem):
        windows = cut_windows(problem, blocks, problem.costs(assignment).period_s * (1 + 1e-9))
        stage = assignment.stage_of[np.unique(blocks.block_of, return_index=True)[1]]
        used = np.cumsum([len(devices) for devices in assignment.devices])
        for cut in range(1, assignment.num_stages):
            rows = downsets_within(blocks, problem.best_link, windows[used[cut - 1] - 1], 1000)
            assert tuple(np.flatnonzero(stage < cut).tolist()) in as_sets(rows)


@pytest.mark.parametrize(("limit", "is_given_up"), [(256, False), (255, True)])
def test_more_downsets_than_the_limit_are_given_up(limit, is_given_up):
    nodes = tuple(Node(name=f"n{i}", time_s=1.0) for i in range(8))
    blocks = make_blocks(build_graph(Profile(nodes=nodes, edges=())), PlanRequest(), fuse_idle=False)
    assert (downsets_within(blocks, LINK, Window(8.0, 8.0, 1.0, 1.0), limit) is None) == is_given_up


def test_a_graph_of_more_blocks_than_bits_in_a_word_is_told_whole():
    nodes = tuple(Node(name=f"n{i}", time_s=1.0, output_bytes=4) for i in range(150))
    profile = Profile(nodes=nodes, edges=tuple((f"n{i}", f"n{i + 1}") for i in range(149)))
    blocks = make_blocks(build_graph(profile), PlanRequest(), fuse_idle=False)
    rows = downsets_within(blocks, LINK, Window(140.0, 145.0, 2.0, 0.0), 1000)
    assert sorted(map(len, as_sets(rows))) == list(range(5, 141))
    assert all(row.tolist() == sorted(row.tolist(), reverse=True) for row in rows)
