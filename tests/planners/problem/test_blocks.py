"""Which nodes are fused before planning."""

from __future__ import annotations

import itertools

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.profile import Node, Profile
from partkit.planners import PlanRequest, make_plan
from partkit.planners.costs.graph import build_graph
from partkit.planners.problem.blocks import make_blocks


def row(*nodes):
    return Profile(nodes=tuple(nodes), edges=tuple((a.name, b.name) for a, b in itertools.pairwise(nodes)))


HOLDER = row(
    Node(name="a", time_s=1.0, output_bytes=8, param_bytes=30),
    Node(name="view", time_s=0.0, output_bytes=1, param_bytes=50),
    Node(name="b", time_s=1.0, output_bytes=8),
)


def test_a_node_of_no_time_goes_with_its_neighbour_even_where_it_holds_parameters():
    blocks = make_blocks(build_graph(HOLDER), PlanRequest(), fuse_idle=True)
    assert blocks.block_of.tolist() == [0, 0, 1]
    assert make_blocks(build_graph(HOLDER), PlanRequest(), fuse_idle=False).block_of.tolist() == [0, 1, 2]


def test_what_such_a_node_holds_still_goes_where_it_fits():
    devices = (Device(name="x", memory_bytes=90), Device(name="y", memory_bytes=90))
    plan = make_plan(HOLDER, Cluster(devices=devices, link=Link(bytes_per_s=1e3)), PlanRequest(num_stages=2))
    assert [stage.nodes for stage in plan.stages] == [("a",), ("view", "b")]
    assert (plan.prediction.period_s, plan.bound.optimal) == (1.0, True)
