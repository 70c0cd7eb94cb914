"""Assignments as plan files: every figure of a plan computed from its nodes, and from nothing else."""

from __future__ import annotations

import numpy as np

from partkit.data.cluster import Cluster
from partkit.data.module_paths import block_of
from partkit.data.plan import Prediction, Send, Stage
from partkit.data.profile import Profile
from partkit.data.published_errors import interval_of
from partkit.planners.costs.cost import Assignment, Costs, stage_param_bytes, stage_peak_bytes
from partkit.planners.costs.graph import Graph
from partkit.planners.costs.sending import Sending


def plan_stages(graph: Graph, assignment: Assignment, sending: Sending, *, num_slots: int) -> tuple[Stage, ...]:
    """The stages of a plan with all their figures, what they recompute included. O(nodes + uses)."""
    costs = sending.costs
    param_bytes = stage_param_bytes(sending.graph, sending.assignment)
    peak_bytes = stage_peak_bytes(sending.graph, sending.assignment, costs.traffic, num_slots=num_slots)
    stages = []
    for index, devices in enumerate(assignment.devices):
        members = [graph.nodes[node] for node in np.flatnonzero(assignment.stage_of == index).tolist()]
        stages.append(
            Stage(
                index=index,
                devices=devices,
                modules=tuple(dict.fromkeys(block_of(node.module) for node in members if node.module)),
                nodes=tuple(node.name for node in members),
                param_bytes=round(param_bytes[index]),
                peak_bytes=round(peak_bytes[index]),
                compute_s=float(costs.compute_s[index]),
                period_s=float(costs.stage_period_s[index]),
                sends=_sends(sending, index),
                recomputes=tuple(graph.nodes[node].name for node, stage in sending.copies if stage == index),
            )
        )
    return tuple(stages)


def _sends(sending: Sending, stage: int) -> tuple[Send, ...]:
    traffic, graph = sending.costs.traffic, sending.graph
    mine = traffic.source == stage
    sends = []
    for target in np.unique(traffic.target[mine]).tolist():
        rows = mine & (traffic.target == target)
        values = traffic.value[rows]
        sends.append(
            Send(
                to=target,
                values=tuple(graph.nodes[value].name for value in values.tolist()),
                bytes=round(graph.output_bytes[values].sum()),
                time_s=float(traffic.time_s[rows].sum()),
            )
        )
    return tuple(sends)


def predict(profile: Profile, cluster: Cluster, costs: Costs) -> Prediction:
    """What a plan with these costs should reach; a profile without times gives 0 samples/s."""
    samples_per_s = profile.model.batch / costs.period_s if costs.period_s > 0 else 0.0
    way = "pipeline" if len(costs.compute_s) > 1 else "single"
    around = interval_of(samples_per_s, way, cluster.devices[0].type, profile.method, profile.residual)
    return Prediction(
        bottleneck_stage=int(np.argmax(costs.stage_period_s)),
        period_s=costs.period_s,
        samples_per_s=samples_per_s,
        latency_s=costs.latency_s,
        interval=None if around is None else (around.low, around.high),
        interval_source=None if around is None else around.source,
    )
