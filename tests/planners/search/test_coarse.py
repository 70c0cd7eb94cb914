"""Graphs with more blocks than tables hold are cut as well as the exact programme would, or nearly."""

from __future__ import annotations

import random

import pytest

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.profile import Node, Profile
from partkit.planners import PlanRequest, make_plan


@pytest.mark.parametrize("overlap", [True, False])
def test_a_coarse_plan_of_a_chain_is_within_a_thousandth_of_the_exact_one(overlap, monkeypatch):
    draw = random.Random(3)
    nodes = tuple(
        Node(name=f"n{i}", time_s=draw.lognormvariate(0, 1), output_bytes=draw.choice([1, 10, 100]))
        for i in range(1500)
    )
    profile = Profile(nodes=nodes, edges=tuple((f"n{i}", f"n{i + 1}") for i in range(1499)))
    devices = tuple(Device(name=f"d{i}") for i in range(6))
    cluster = Cluster(devices=devices, link=Link(bytes_per_s=2.0), overlap=overlap)
    exact = make_plan(profile, cluster, PlanRequest(planner="chain")).prediction.period_s
    monkeypatch.setattr("partkit.planners.algorithms.chain.MAX_BLOCKS", 100)
    monkeypatch.setattr("partkit.planners.search.coarse._NUM_CUTS", 300)
    coarse = make_plan(profile, cluster, PlanRequest(planner="chain"))
    assert exact <= coarse.prediction.period_s * (1 + 1e-9)
    assert coarse.prediction.period_s <= exact * 1.001
    assert coarse.bound.period_s <= exact * (1 + 1e-9)
