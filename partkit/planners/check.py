"""Check a plan, perhaps edited by hand, against its profile, and compute all its figures anew."""

from __future__ import annotations

import math
from collections.abc import Sequence

import networkx as nx
import numpy as np

from partkit.data.plan import Bound, NodeTimes, Plan
from partkit.data.profile import Profile
from partkit.data.reading import shown
from partkit.data.units import format_bytes, format_count
from partkit.errors import FormatError, InfeasibleError, MismatchError
from partkit.planners.costs.cost import Assignment, evaluate
from partkit.planners.costs.graph import Graph, build_graph
from partkit.planners.costs.sending import Aim, Sending, cheapest_sending, with_copies
from partkit.planners.filling import scaled
from partkit.planners.problem.pins import pinned_nodes
from partkit.planners.problem.problem import TOLERANCE
from partkit.planners.problem.ties import find_ties
from partkit.planners.search.assemble import plan_stages, predict

_MOST_FAULTS = 8
"""Faults that an error names; of more it tells the number."""
_ROUNDING = 10.0 ** (1 - Plan.digits)
"""Relative change below which a figure read from a file is the same figure."""


def repredict(plan: Plan, profile: Profile) -> Plan:
    """``plan`` with every derived figure computed from its nodes, devices and cluster.

    ``edited`` is set where figures changed by more than the file's rounding. Raises
    :class:`MismatchError` when plan and profile are of different models, :class:`FormatError` listing every
    missing, unknown or misplaced node, and :class:`InfeasibleError` where a stage exceeds its memory cap.
    """
    ours, theirs = plan.model.structure_sha256, profile.model.structure_sha256
    if ours and theirs and ours != theirs:
        raise MismatchError(
            f"the plan is for structure {ours[:12]} of {plan.model.source!r} and the profile for {theirs[:12]} of "
            f"{profile.model.source!r}",
            hint="plan again with this profile",
        )
    given, profile = profile, scaled(profile, plan.model.batch, plan.lanes)
    graph = build_graph(profile, lanes=plan.lanes)
    require_nodes(plan, profile, graph)
    faults = _device_faults(plan) + _order_faults(plan, graph) + _pin_faults(plan, graph) + _tie_faults(plan, graph)
    _raise_if_any(faults)
    assignment = assignment_of_plan(plan, graph)
    sending = cheapest_sending(graph, plan.cluster, assignment, _aim(plan))
    costs = sending.costs
    stages = plan_stages(graph, assignment, sending, num_slots=plan.constraints.num_slots)
    fresh = plan.model_copy(
        update={
            "stages": stages,
            "prediction": predict(profile, plan.cluster, costs),
            "contiguous": not bool((costs.traffic.source > costs.traffic.target).any()),
            "profile_sha256": given.sha256,
            "node_times": NodeTimes(method=profile.method, device=profile.device.name),
        }
    )
    _check_caps(fresh)
    changed = not _same_figures(plan.to_data()["stages"], fresh.to_data()["stages"])
    if not changed:
        return fresh
    if plan.profile_sha256 != fresh.profile_sha256:
        none = Bound(proved_by="none: the profile is not the one that the bound was proved for")
        return fresh.model_copy(update={"edited": True, "bound": none})
    return under_bound(fresh.model_copy(update={"edited": True}), plan.bound, tolerance=_ROUNDING)


def assignment_of_plan(plan: Plan, graph: Graph) -> Assignment:
    """The assignment that a plan describes; its nodes must be the graph's."""
    stage_by_node = plan.stage_by_node
    stage_of = np.array([stage_by_node[node.name] for node in graph.nodes], dtype=np.int64)
    return Assignment(stage_of, tuple(stage.devices for stage in plan.stages))


def sending_of_plan(plan: Plan, graph: Graph) -> Sending:
    """What crosses in a plan as it stands: it recomputes what it says, and sends the rest."""
    assignment = assignment_of_plan(plan, graph)
    copies = [(graph.index_by_name[name], stage) for stage, names in plan.recomputes_by_stage.items() for name in names]
    found = with_copies(graph, plan.cluster, assignment, copies)
    return found or Sending(graph, assignment, evaluate(graph, plan.cluster, assignment))


def require_nodes(plan: Plan, profile: Profile, graph: Graph) -> None:
    """Raise :class:`FormatError` where the plan's stages are not of the profile's nodes, each in one."""
    placed, planned = set(graph.index_by_name), set(plan.stage_by_node)
    recomputed = {name for stage in plan.stages for name in stage.recomputes}
    free = {node.name for node in profile.nodes if node.free}
    faults = [f"node {shown(name)} stands in no stage" for name in sorted(placed - planned)]
    faults += [f"free node {shown(name)} stands in a stage" for name in sorted(planned & free)]
    faults += [f"node {shown(name)} is not in the profile" for name in sorted((planned | recomputed) - placed - free)]
    faults += [f"free node {shown(name)} is recomputed" for name in sorted(recomputed & free)]
    _raise_if_any(faults)


def _raise_if_any(faults: Sequence[str]) -> None:
    if not faults:
        return
    more = len(faults) - _MOST_FAULTS
    told = [*faults[:_MOST_FAULTS], *([f"and {format_count(more)} more"] if more > 0 else [])]
    raise FormatError(f"the plan does not fit its profile: {'; '.join(told)}", hint="edit it or plan again")


def _device_faults(plan: Plan) -> list[str]:
    faults = []
    limits = plan.constraints
    if limits.num_stages is not None and len(plan.stages) > limits.num_stages:
        faults.append(f"it has {len(plan.stages)} stages and constraints.num_stages allows {limits.num_stages}")
    users: dict[int, int] = {}
    for stage in plan.stages:
        count = len(stage.devices)
        if limits.max_replicas is not None and count > limits.max_replicas:
            faults.append(
                f"stage {stage.index} runs on {count} devices and constraints.max_replicas allows {limits.max_replicas}"
            )
        for device in stage.devices:
            if device in users:
                faults.append(f"device {device} runs stages {users[device]} and {stage.index}")
            users[device] = stage.index
    return faults


def _order_faults(plan: Plan, graph: Graph) -> list[str]:
    stage_of = assignment_of_plan(plan, graph).stage_of
    source, target = stage_of[graph.use_source], stage_of[graph.use_target]
    faults = []
    if plan.contiguous:
        quotient = nx.DiGraph()
        quotient.add_edges_from((a, b) for a, b in zip(source.tolist(), target.tolist(), strict=True) if a != b)
        for use in np.flatnonzero(source > target)[:3].tolist():
            names = graph.nodes[graph.use_source[use]].name, graph.nodes[graph.use_target[use]].name
            faults.append(
                f"{names[0]!r} in stage {source[use]} is used by {names[1]!r} in the earlier stage {target[use]}"
            )
        if faults and not nx.is_directed_acyclic_graph(quotient):
            faults.append("values go round in a cycle of stages")
    late = np.flatnonzero(graph.is_input & (stage_of > 0)).tolist()
    return faults + [
        f"input {graph.nodes[node].name!r} stands in stage {stage_of[node]}, and inputs enter at stage 0"
        for node in late
    ]


def _pin_faults(plan: Plan, graph: Graph) -> list[str]:
    stage_by_node = plan.stage_by_node
    return [
        f"node {graph.nodes[node].name!r} is pinned to stage {stage} by {pattern!r} and stands in stage "
        f"{stage_by_node[graph.nodes[node].name]}"
        for pattern, stage in plan.constraints.pins.items()
        for node in pinned_nodes(graph, pattern)
        if stage_by_node[graph.nodes[node].name] != stage
    ]


def _tie_faults(plan: Plan, graph: Graph) -> list[str]:
    stage_of = assignment_of_plan(plan, graph).stage_of
    faults = []
    for tie in find_ties(graph, plan.constraints.keep_together, plan.constraints.granularity):
        first = tie.nodes[0]
        apart = next((node for node in tie.nodes if stage_of[node] != stage_of[first]), None)
        if apart is not None:
            faults.append(
                f"{graph.nodes[first].name!r} stands in stage {stage_of[first]} and {graph.nodes[apart].name!r} in "
                f"stage {stage_of[apart]}, and they stay together ({tie.reason})"
            )
    return faults


def _aim(plan: Plan) -> Aim:
    caps = [[_cap(plan, device) for device in stage.devices] for stage in plan.stages]
    least = tuple(min(math.inf if cap is None else float(cap) for cap in each) for each in caps)
    return Aim(plan.objective, plan.constraints.num_slots, least)


def _cap(plan: Plan, device: int) -> int | None:
    return plan.constraints.memory_caps_bytes.get(str(device), plan.cluster.devices[device].memory_bytes)


def _check_caps(plan: Plan) -> None:
    faults = []
    for stage in plan.stages:
        for device in stage.devices:
            cap = _cap(plan, device)
            if cap is not None and stage.peak_bytes > cap:
                faults.append(
                    f"stage {stage.index} needs {format_bytes(stage.peak_bytes)} and device {device} "
                    f"({plan.cluster.devices[device].name!r}) may hold {format_bytes(cap)}"
                )
    if faults:
        raise InfeasibleError("; ".join(faults), hint="move nodes to other stages or raise the caps")


def _same_figures(old: object, new: object) -> bool:
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_same_figures(old[key], new[key]) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_same_figures, old, new))
    if isinstance(old, float) and isinstance(new, float):
        return math.isclose(old, new, rel_tol=_ROUNDING)
    return old == new


def under_bound(plan: Plan, bound: Bound, *, tolerance: float = TOLERANCE) -> Plan:
    """``plan`` with a bound that was proved for its request and profile, and its gap to that."""
    name = {"throughput": "period_s", "latency": "latency_s", "memory": "peak_bytes"}[plan.objective]
    lower = getattr(bound, name) or 0.0
    gap = max(objective_of(plan) / lower - 1, 0.0) if lower > 0 else 0.0
    optimal = lower > 0 and gap < tolerance
    return plan.model_copy(update={"bound": bound.model_copy(update={"gap": gap, "optimal": optimal})})


def objective_of(plan: Plan) -> float:
    """The plan's own figure of what its request wants small: seconds, or bytes."""
    return {
        "throughput": plan.prediction.period_s,
        "latency": plan.prediction.latency_s,
        "memory": float(max(stage.peak_bytes for stage in plan.stages)),
    }[plan.objective]
