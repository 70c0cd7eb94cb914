"""How many stages a plan takes, and the reason that it gives."""

from __future__ import annotations

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.profile import Node, Profile
from partkit.planners import PlanRequest, plan_as_asked


def row(times):
    nodes = tuple(Node(name=f"n{i}", time_s=seconds, output_bytes=4) for i, seconds in enumerate(times))
    return Profile(nodes=nodes, edges=tuple((f"n{i}", f"n{i + 1}") for i in range(len(times) - 1)))


def box(count, bytes_per_s=100.0, **changes):
    devices = tuple(Device(name=f"d{i}") for i in range(count))
    return Cluster(devices=devices, link=Link(bytes_per_s=bytes_per_s), **changes)


def reason(profile, cluster, **asked):
    plan = plan_as_asked(profile, cluster, PlanRequest(**asked))
    return len(plan.stages), plan.planner.detail.partition("; ")[2] or plan.planner.detail


def test_auto_takes_as_many_stages_as_help_and_says_what_others_reach():
    assert reason(row([1.0, 1.0, 2.0]), box(4)) == (
        2,
        "2 stages of at most 4 are best for throughput: 0.5 samples/s, against 0.25 samples/s with 1 and "
        "0.5 samples/s with 3",
    )


def test_auto_takes_as_many_devices_as_hold_the_model_and_says_so_with_the_bytes():
    nodes = tuple(Node(name=f"n{i}", time_s=1.0, output_bytes=1, param_bytes=100) for i in range(6))
    profile = Profile(nodes=nodes, edges=tuple((f"n{i}", f"n{i + 1}") for i in range(5)))
    limited = box(2).with_devices(2).model_copy(update={"devices": (Device(name="d0", memory_bytes=230),) * 2})
    plan = plan_as_asked(profile, limited, PlanRequest())
    assert ([device.name for device in plan.cluster.devices], len(plan.stages)) == (["d0", "d0", "d2"], 3)
    assert plan.planner.detail.rpartition("; ")[2] == (
        "graph:unnamed needs 614 B (600 B of it parameters and buffers), and 2 devices of 230 B hold 460 B: 3 such "
        "devices do, with 206 B on the fullest"
    )
    capped = plan_as_asked(profile, box(2), PlanRequest(memory_caps_bytes={0: 230, 1: 230}))
    assert capped.constraints.memory_caps_bytes == {"0": 230, "1": 230, "2": 230}
    roomy = plan_as_asked(profile, limited.with_devices(6), PlanRequest())
    assert "3 devices of 230 B are the fewest found to hold its 614 B; 6 stages of at most 6" in roomy.planner.detail


def test_auto_takes_one_stage_where_links_are_slow():
    assert reason(row([1.0, 1.0]), box(2, bytes_per_s=0.1)) == (
        1,
        "1 stage of at most 2 is best for throughput: 0.5 samples/s, against 0.025 samples/s with 2",
    )


def test_auto_for_latency_says_so_in_seconds():
    count, text = reason(row([1.0, 1.0]), box(2), objective="latency")
    assert (count, text) == (1, "1 stage of at most 2 is best for latency: 2 s an item, against 2.04 s an item with 2")


def test_auto_says_where_one_more_stage_cannot_be():
    count, text = reason(row([1.0, 1.0]), box(3))
    assert (count, text) == (
        2,
        "2 stages of at most 3 are best for throughput: 1 samples/s, against 0.5 samples/s with 1 and no plan with 3",
    )


def test_fewer_stages_than_were_asked_for_come_with_the_reason():
    assert reason(row([1.0, 1.0]), box(2), num_stages=2, objective="latency") == (
        1,
        "1 of at most 2 stages are best; 2 s an item with 1, against 2.04 s an item with 2",
    )
    assert reason(row([1.0, 1.0, 0.0]), box(2, bytes_per_s=0.1), num_stages=2, planner="chain") == (
        1,
        "0.5 samples/s with 1, against 0.025 samples/s with 2",
    )


def test_stages_asked_for_are_used_where_that_costs_little():
    shared = box(2, shared_cores=1.0, overlap=False)
    assert reason(row([1.0, 1.0]), shared, num_stages=2) == (
        1,
        "1 of at most 2 stages are best; 0.5 samples/s with 1, against 0.481 samples/s with 2",
    )
    exact = plan_as_asked(row([1.0, 1.0]), shared, PlanRequest(num_stages=2, exact_num_stages=True))
    assert (len(exact.stages), "against" in exact.planner.detail) == (2, False)
    cheap = box(2, bytes_per_s=1e6, shared_cores=1.0, overlap=False)
    plan = plan_as_asked(row([1.0, 1.0]), cheap, PlanRequest(num_stages=2))
    assert (len(plan.stages), plan.bound.period_s, plan.edited) == (2, 2.0, False)


def test_cuts_between_layers_only_are_told_with_what_they_cost():
    times = [1.0, 1.0, 1.0, 1.0]
    names = ["h.0", "h.0", "h.0", "h.1"]
    profile = row(times)
    nodes = tuple(node.model_copy(update={"module": name}) for node, name in zip(profile.nodes, names, strict=True))
    profile = profile.model_copy(update={"nodes": nodes})
    _, anywhere = reason(profile, box(2), num_stages=2)
    assert "layer" not in anywhere
    assert reason(profile, box(2), num_stages=2, granularity="layer") == (
        2,
        "cuts between whole layers only cost 50.0%: 0.5 samples/s where cuts lie anywhere",
    )
    whole = [node.model_copy(update={"module": f"h.{index // 2}"}) for index, node in enumerate(profile.nodes)]
    apart = profile.model_copy(update={"nodes": tuple(whole)})
    assert reason(apart, box(2), num_stages=2, granularity="layer")[1] == "cuts between whole layers cost nothing here"
