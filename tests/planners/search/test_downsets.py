"""Downsets of small random graphs against trying every subset."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from partkit.data.cluster import Link
from partkit.data.profile import Node, Profile
from partkit.planners import PlanRequest
from partkit.planners.costs.graph import build_graph
from partkit.planners.problem.blocks import make_blocks
from partkit.planners.search.downset_tables import downset_cuts
from partkit.planners.search.downsets import enumerate_downsets
from tests.planners.instances import profiles

quick = settings(max_examples=80)


def blocks_of(profile):
    return make_blocks(build_graph(profile), PlanRequest(), fuse_idle=False)


def all_downsets(blocks):
    """Every set of blocks that holds what its members use; with the inputs unless it is empty."""
    found = set()
    for size in range(blocks.num_blocks + 1):
        for members in itertools.combinations(range(blocks.num_blocks), size):
            is_closed = all(set(blocks.predecessors[block]) <= set(members) for block in members)
            if is_closed and (not members or not blocks.has_input or 0 in members):
                found.add(members)
    return found


def as_sets(rows):
    return {tuple(np.flatnonzero(row).tolist()) for row in rows}


@quick
@given(profiles(max_nodes=7))
def test_all_downsets_are_found_each_after_those_that_it_holds(profile):
    blocks = blocks_of(profile)
    rows = enumerate_downsets(blocks, 1000)
    assert as_sets(rows) == all_downsets(blocks)
    assert len(rows) == len(as_sets(rows))
    for later, earlier in itertools.combinations(range(len(rows)), 2):
        assert not (rows[earlier] <= rows[later]).all() or earlier > later


def test_more_downsets_than_the_limit_are_given_up():
    blocks = blocks_of(Profile(nodes=tuple(Node(name=f"n{i}", time_s=1.0) for i in range(8)), edges=()))
    assert enumerate_downsets(blocks, 255) is None
    assert len(enumerate_downsets(blocks, 256)) == 256


@quick
@given(profiles(max_nodes=7), st.floats(0.5, 10))
def test_a_band_of_the_tables_is_the_same_as_in_the_whole_ones(profile, longest_s):
    blocks = blocks_of(profile)
    rows = enumerate_downsets(blocks, 1000)
    link = Link(bytes_per_s=3.0, latency_s=0.1)
    whole = downset_cuts(blocks, rows, link, num_slots=2)
    band = downset_cuts(blocks, rows, link, num_slots=2, longest_s=longest_s)
    work_s = whole.work_s[:, None] - whole.work_s[None, :]
    inside = np.isfinite(whole.send_s) & (work_s <= longest_s)
    for name in ("send_s", "receive_s", "memory_bytes"):
        np.testing.assert_allclose(getattr(band, name)[inside], getattr(whole, name)[inside], atol=1e-9)
    assert np.isfinite(band.send_s)[inside].all()
    ends, starts = np.nonzero(inside)
    assert (band.first_start[ends] <= starts).all()
