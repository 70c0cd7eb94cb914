"""What any assignment of nodes to stages costs: the one objective that plans, peers and bounds share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from partkit.data.cluster import Cluster
from partkit.planners.costs.graph import FloatArray, Graph, IntArray, sum_by

DEFAULT_NUM_SLOTS = 2


@dataclass(frozen=True, eq=False)
class Assignment:
    """A stage for every placed node, and the devices of each stage (several: replicated)."""

    stage_of: IntArray
    devices: tuple[tuple[int, ...], ...]

    @property
    def num_stages(self) -> int:
        """Number of stages, none of them empty."""
        return len(self.devices)


@dataclass(frozen=True, eq=False)
class Traffic:
    """The values that cross: one row for each (value, destination stage)."""

    value: IntArray
    source: IntArray
    target: IntArray
    time_s: FloatArray


@dataclass(frozen=True, eq=False)
class Costs:
    """Seconds of every stage and of the whole plan."""

    compute_s: FloatArray
    """Compute of one item on one of the stage's devices."""
    send_s: FloatArray
    receive_s: FloatArray
    stage_period_s: FloatArray
    """Seconds between items that the stage can sustain, its replicas taken together."""
    period_s: float
    latency_s: float
    traffic: Traffic


def evaluate(graph: Graph, cluster: Cluster, assignment: Assignment) -> Costs:
    """Cost of ``assignment``: compute, traffic, stage periods, the plan's period and one item's latency.

    A value is received once by each stage that uses it; its sender pays for each of them
    (``fanout="each"``) or once (``"once"``, the dearest of them). O(nodes + uses).

    >>> from partkit.data.cluster import Device, Link
    >>> from partkit.planners.costs.graph import build_graph
    >>> from partkit.data.profile import Node, Profile
    >>> nodes = (Node(name="a", time_s=3.0, output_bytes=4), Node(name="b", time_s=2.0))
    >>> graph = build_graph(Profile(nodes=nodes, edges=(("a", "b"),)))
    >>> cluster = Cluster(devices=(Device(name="x"), Device(name="y")), link=Link(bytes_per_s=8.0))
    >>> costs = evaluate(graph, cluster, Assignment(np.array([0, 1]), ((0,), (1,))))
    >>> costs.period_s, costs.latency_s
    (3.0, 5.5)
    """
    num_stages = assignment.num_stages
    speeds = stage_speeds(cluster, assignment)
    compute_s = sum_by(assignment.stage_of, graph.time_s, num_stages) / speeds
    traffic = find_traffic(graph, cluster, assignment)
    receive_s = sum_by(traffic.target, traffic.time_s, num_stages)
    send_s = _send_seconds(traffic, num_stages, once=cluster.fanout == "once")
    busy_s = combine(compute_s, send_s, receive_s, overlap=cluster.overlap)
    stage_period_s = busy_s / np.array([len(devices) for devices in assignment.devices])
    period_s = float(stage_period_s.max())
    if cluster.shared_cores is not None:
        work_s = float(compute_s.sum() + send_s.sum() + receive_s.sum())
        period_s = max(period_s, work_s / cluster.shared_cores)
    latency_s = _latency(compute_s, traffic, num_stages)
    return Costs(compute_s, send_s, receive_s, stage_period_s, period_s, latency_s, traffic)


def combine(compute_s: FloatArray, send_s: FloatArray, receive_s: FloatArray, *, overlap: bool) -> FloatArray:
    """Seconds a stage is busy with one item: the largest of the three where they overlap, else their sum."""
    if overlap:
        return np.maximum(np.maximum(compute_s, send_s), receive_s)
    return compute_s + send_s + receive_s


def stage_speeds(cluster: Cluster, assignment: Assignment) -> FloatArray:
    """Speed of each stage: that of its slowest replica."""
    return np.array([min(cluster.devices[device].speed for device in devices) for devices in assignment.devices])


def find_traffic(graph: Graph, cluster: Cluster, assignment: Assignment) -> Traffic:
    """Every value that crosses between stages, once for each destination stage."""
    source = assignment.stage_of[graph.use_source]
    target = assignment.stage_of[graph.use_target]
    crossing = source != target
    num_stages = assignment.num_stages
    pairs = np.unique(graph.use_source[crossing] * num_stages + target[crossing])
    value, target = pairs // num_stages, pairs % num_stages
    source = assignment.stage_of[value]
    latency_s, seconds_by_byte = stage_links(cluster, assignment)
    time_s = latency_s[source, target] + graph.output_bytes[value] * seconds_by_byte[source, target]
    return Traffic(value, source, target, time_s)


def stage_links(cluster: Cluster, assignment: Assignment) -> tuple[FloatArray, FloatArray]:
    """Latency and seconds by byte for each ordered pair of stages: the worst of their replicas' links."""
    num_stages = assignment.num_stages
    latency_s = np.full((num_stages, num_stages), cluster.link.latency_s)
    seconds_by_byte = np.full((num_stages, num_stages), 1.0 / cluster.link.bytes_per_s)
    if cluster.links:
        for source, source_devices in enumerate(assignment.devices):
            for target, target_devices in enumerate(assignment.devices):
                links = [cluster.link_between(a, b) for a in source_devices for b in target_devices]
                latency_s[source, target] = max(link.latency_s for link in links)
                seconds_by_byte[source, target] = max(1.0 / link.bytes_per_s for link in links)
    return latency_s, seconds_by_byte


def _send_seconds(traffic: Traffic, num_stages: int, *, once: bool) -> FloatArray:
    if not once or len(traffic.value) == 0:
        return sum_by(traffic.source, traffic.time_s, num_stages)
    first = np.flatnonzero(np.r_[True, traffic.value[1:] != traffic.value[:-1]])
    dearest_s = np.maximum.reduceat(traffic.time_s, first)
    return sum_by(traffic.source[first], dearest_s, num_stages)


def _latency(compute_s: FloatArray, traffic: Traffic, num_stages: int) -> float:
    """Seconds from an item's entry until its last stage is done, nothing else being under way.

    Stages are numbered so that values go to higher numbers; for a plan that is not contiguous, where some
    go back, each stage counts once and so do all hops.
    """
    if np.any(traffic.source > traffic.target):
        return float(compute_s.sum() + traffic.time_s.sum())
    hop_s = np.zeros((num_stages, num_stages))
    np.add.at(hop_s, (traffic.source, traffic.target), traffic.time_s)
    sends = np.zeros((num_stages, num_stages), dtype=bool)
    sends[traffic.source, traffic.target] = True
    done_s = np.zeros(num_stages)
    for stage in range(num_stages):
        senders = np.flatnonzero(sends[:, stage])
        done_s[stage] = compute_s[stage] + max((done_s[s] + hop_s[s, stage] for s in senders), default=0.0)
    return float(done_s.max())


def stage_param_bytes(graph: Graph, assignment: Assignment) -> FloatArray:
    """Parameters and buffers of each stage: what its nodes share counts once, what stages share on each."""
    num_stages = assignment.num_stages
    stage = assignment.stage_of[graph.held_node]
    pairs = np.unique(graph.held_holding * num_stages + stage)
    return sum_by(pairs % num_stages, graph.holding_bytes[pairs // num_stages], num_stages)


def stage_peak_bytes(graph: Graph, assignment: Assignment, traffic: Traffic, *, num_slots: int) -> FloatArray:
    """Peak memory of each stage: parameters, buffers, live values in execution order, in-flight slots.

    A stage runs its nodes in the graph's order. A value lives from its node until its last use on the
    stage, and until the stage's end where it is sent; a view of another value lives in that value's memory. Each
    received and each sent value has ``num_slots`` slots besides, and on GPUs the model's inputs and outputs too, where
    libraries' workspaces are added to every stage. Each lane has all of it but the parameters. O(nodes + uses).
    """
    num_stages = assignment.num_stages
    stage_of = assignment.stage_of
    own_bytes = np.where(graph.view_of < 0, graph.output_bytes, 0.0)
    last_use = _last_uses(graph, stage_of, traffic)
    slot_bytes = sum_by(traffic.target, graph.output_bytes[traffic.value], num_stages)
    sent = np.unique(traffic.value)
    slot_bytes += sum_by(stage_of[sent], graph.output_bytes[sent], num_stages)
    live_bytes = np.full(num_stages, graph.workspace_bytes)
    if graph.keeps_slots:
        inputs, outputs = np.flatnonzero(graph.is_input), graph.outputs
        slot_bytes += sum_by(stage_of[inputs], graph.output_bytes[inputs], num_stages)
        own_bytes[inputs] = 0.0
        held_bytes = sum_by(stage_of[outputs], graph.output_bytes[outputs], num_stages)
        live_bytes += (num_slots - 1) * held_bytes  # one slot's outputs are the live ones
    for stage in range(num_stages):
        members = np.flatnonzero(stage_of == stage)
        ends = np.searchsorted(members, last_use[members], side="right")
        change = np.zeros(len(members) + 1)
        change[:-1] += own_bytes[members]
        np.subtract.at(change, ends, own_bytes[members])
        live_bytes[stage] += np.cumsum(change[:-1]).max(initial=0.0)
    peak_bytes: FloatArray = stage_param_bytes(graph, assignment) + (live_bytes + num_slots * slot_bytes) * graph.lanes
    return peak_bytes


def _last_uses(graph: Graph, stage_of: IntArray, traffic: Traffic) -> IntArray:
    """The last node of its own stage that needs each value's memory; past all nodes where the value is sent."""
    last_use = np.arange(graph.num_nodes)
    local = stage_of[graph.use_source] == stage_of[graph.use_target]
    np.maximum.at(last_use, graph.use_source[local], graph.use_target[local])
    last_use[traffic.value] = graph.num_nodes
    for views in graph.views_by_depth:  # views of views first
        bases = graph.view_of[views]
        together = stage_of[bases] == stage_of[views]
        np.maximum.at(last_use, bases[together], last_use[views[together]])
    return last_use
