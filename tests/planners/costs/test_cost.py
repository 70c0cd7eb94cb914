"""Cost of assignments, checked by hand and against a plain restatement of the definitions."""

from __future__ import annotations

import numpy as np
import pytest

from partkit.data.cluster import Cluster, Device, Link, PairLink
from partkit.data.profile import Calibration, Node, Profile, ProfiledDevice
from partkit.planners.costs.cost import Assignment, evaluate, stage_param_bytes, stage_peak_bytes
from partkit.planners.costs.graph import Graph, build_graph

DEVICES = tuple(Device(name=f"d{index}") for index in range(3))


def fan_out() -> Profile:
    """a is read by b, c and d; d also reads c."""
    nodes = tuple(Node(name=name, time_s=1.0, output_bytes=10) for name in "abcd")
    return Profile(nodes=nodes, edges=(("a", "b"), ("a", "c"), ("a", "d"), ("c", "d")))


def place(profile, stages, cluster, devices=((0,), (1,), (2,))):
    graph = build_graph(profile)
    assignment = Assignment(np.array(stages), devices[: max(stages) + 1])
    return graph, assignment, evaluate(graph, cluster, assignment)


def cluster(**changes):
    return Cluster(devices=DEVICES, link=Link(bytes_per_s=10.0, latency_s=0.5), **changes)


def test_a_value_is_received_once_by_each_stage_that_reads_it():
    _, _, costs = place(fan_out(), [0, 1, 1, 2], cluster())
    assert costs.receive_s.tolist() == [0.0, 1.5, 3.0]


def test_the_sender_pays_for_each_reader_or_once():
    assert place(fan_out(), [0, 1, 1, 2], cluster(fanout="each"))[2].send_s.tolist() == [3.0, 1.5, 0.0]
    assert place(fan_out(), [0, 1, 1, 2], cluster(fanout="once"))[2].send_s.tolist() == [1.5, 1.5, 0.0]


def test_overlap_takes_the_largest_share_and_its_absence_the_sum():
    assert place(fan_out(), [0, 1, 1, 2], cluster())[2].stage_period_s.tolist() == [3.0, 2.0, 3.0]
    assert place(fan_out(), [0, 1, 1, 2], cluster(overlap=False))[2].stage_period_s.tolist() == [4.0, 5.0, 4.0]


def test_latency_follows_the_longest_way_through_the_stages():
    _, _, costs = place(fan_out(), [0, 1, 1, 2], cluster())
    assert costs.latency_s == pytest.approx(1.0 + 1.5 + 2.0 + 1.5 + 1.0)


def test_replicas_divide_the_period_and_not_the_latency():
    _, _, costs = place(fan_out(), [0, 0, 0, 0], cluster(), devices=((0, 1),))
    assert (costs.period_s, costs.latency_s) == (2.0, 4.0)


def test_shared_cores_bound_the_period_by_all_work():
    _, _, costs = place(fan_out(), [0, 1, 1, 2], cluster(overlap=False, shared_cores=2.0))
    assert costs.period_s == pytest.approx(13.0 / 2)


def test_speed_calibration_and_pair_links_count():
    profile = fan_out().model_copy(update={"calibration": Calibration(scale=2.0)})
    fast = (Device(name="x"), Device(name="y", speed=4.0))
    slow_link = Cluster(
        devices=fast,
        link=Link(bytes_per_s=10.0),
        links=(PairLink(source=0, target=1, bytes_per_s=1.0, latency_s=1.0),),
    )
    _, _, costs = place(profile, [0, 1, 1, 1], slow_link)
    assert costs.compute_s.tolist() == [2.0, 1.5]
    assert costs.receive_s.tolist() == [0.0, 11.0]


def test_shared_parameters_count_once_on_a_stage_and_on_each_stage():
    nodes = tuple(Node(name=name, time_s=1.0, parameters=("w",), param_bytes=8) for name in "abc")
    profile = Profile(nodes=nodes, edges=(), parameters={"w": 8})
    graph, assignment, _ = place(profile, [0, 0, 1], cluster())
    assert stage_param_bytes(graph, assignment).tolist() == [8.0, 8.0]


def test_what_free_nodes_hold_counts_on_each_stage_that_uses_them():
    nodes = (
        Node(name="mask", time_s=9.0, free=True, buffer_bytes=5),
        Node(name="wide", time_s=9.0, free=True),
        Node(name="a", time_s=1.0, output_bytes=1),
        Node(name="b", time_s=1.0),
    )
    edges = (("mask", "wide"), ("wide", "a"), ("mask", "b"), ("a", "b"))
    graph, assignment, costs = place(Profile(nodes=nodes, edges=edges), [0, 1], cluster())
    assert stage_param_bytes(graph, assignment).tolist() == [5.0, 5.0]
    assert costs.compute_s.tolist() == [1.0, 1.0]
    assert costs.traffic.value.tolist() == [0]


def test_peak_is_parameters_and_live_values_and_slots():
    nodes = (
        Node(name="a", time_s=1.0, output_bytes=10, param_bytes=100),
        Node(name="b", time_s=1.0, output_bytes=20),
        Node(name="c", time_s=1.0, output_bytes=5),
        Node(name="d", time_s=1.0, output_bytes=1),
    )
    profile = Profile(nodes=nodes, edges=(("a", "b"), ("b", "c"), ("c", "d")))
    graph, assignment, costs = place(profile, [0, 0, 0, 1], cluster())
    peaks = stage_peak_bytes(graph, assignment, costs.traffic, num_slots=2)
    assert peaks.tolist() == [100 + 30 + 2 * 5, 1 + 2 * 5]


def test_a_view_lives_in_its_bases_memory_and_keeps_it_alive():
    nodes = (
        Node(name="a", time_s=1.0, output_bytes=100),
        Node(name="v", time_s=0.0, output_bytes=100, view_of="a"),
        Node(name="w", time_s=0.0, output_bytes=60, view_of="v"),
        Node(name="b", time_s=1.0, output_bytes=10),
        Node(name="c", time_s=1.0, output_bytes=10),
    )
    edges = (("a", "v"), ("v", "w"), ("a", "b"), ("w", "c"), ("b", "c"))
    graph = build_graph(Profile(nodes=nodes, edges=edges))
    assert peaks(graph, [0, 0, 0, 0, 0], num_slots=2) == [100 + 10 + 10]
    # behind a cut, the view looks into the slots of what was received
    assert peaks(graph, [0, 1, 1, 1, 1], num_slots=2) == [100 + 2 * 100, 2 * 100 + 10 + 10]


def test_a_gpu_has_slots_for_inputs_and_outputs_and_a_workspace():
    nodes = (
        Node(name="x", op="input", time_s=0.0, output_bytes=8),
        Node(name="a", time_s=1.0, output_bytes=100),
        Node(name="out", op="output", time_s=0.0),
    )
    edges = (("x", "a"), ("a", "out"))
    profile = Profile(
        nodes=nodes, edges=edges, device=ProfiledDevice(type="cuda"), calibration=Calibration(workspace_bytes=1000)
    )
    assert peaks(build_graph(profile), [0, 0, 0], num_slots=2) == [1000 + 2 * 8 + 2 * 100]
    on_cpu = profile.model_copy(update={"device": ProfiledDevice(), "calibration": Calibration()})
    assert peaks(build_graph(on_cpu), [0, 0, 0], num_slots=2) == [8 + 100]


def peaks(graph: Graph, stage_of: list[int], *, num_slots: int) -> list[float]:
    num_stages = max(stage_of) + 1
    assignment = Assignment(np.array(stage_of), tuple((stage,) for stage in range(num_stages)))
    cluster = Cluster(devices=tuple(Device(name=str(i)) for i in range(num_stages)), link=Link(bytes_per_s=1e9))
    traffic = evaluate(graph, cluster, assignment).traffic
    return stage_peak_bytes(graph, assignment, traffic, num_slots=num_slots).tolist()
