"""One planning problem: a graph, a cluster and a request, checked against each other."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from partkit.data.cluster import Cluster, Link
from partkit.data.profile import Profile
from partkit.errors import InfeasibleError, UsageError
from partkit.planners.costs.cost import Assignment, Costs, evaluate, stage_peak_bytes
from partkit.planners.costs.graph import Graph, build_graph
from partkit.planners.problem.blocks import Blocks, make_blocks
from partkit.planners.problem.request import PlanRequest

TOLERANCE = 1e-9
"""Relative difference below which two times are the same: sums in another order differ by less."""


@dataclass(frozen=True)
class Kind:
    """Devices that may stand for each other: same speed, same memory cap."""

    speed: float
    cap_bytes: float
    devices: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Problem:
    """What every planner works on."""

    graph: Graph
    cluster: Cluster
    request: PlanRequest
    kinds: tuple[Kind, ...]
    max_stages: int
    started_s: float = field(default_factory=time.perf_counter)

    @property
    def is_out_of_time(self) -> bool:
        """Whether the request's time limit has passed: planners then keep what they have."""
        limit_s = self.request.time_limit_s
        return limit_s is not None and time.perf_counter() - self.started_s > limit_s

    @cached_property
    def blocks(self) -> Blocks:
        """Blocks without nodes of no time on their own, unless every cut may matter: links differ, the number
        of stages is fixed, or a pinned node needs the one before it in another stage."""
        if self.cluster.links or self.request.exact_num_stages or self.request.pins:
            return self.all_blocks
        return make_blocks(self.graph, self.request, fuse_idle=True)

    @cached_property
    def all_blocks(self) -> Blocks:
        """Blocks with nodes of no time on their own, for exact peaks."""
        return make_blocks(self.graph, self.request, fuse_idle=False)

    @cached_property
    def best_link(self) -> Link:
        """A link at least as good as any that a plan may use: exact where all links are alike."""
        links: list[Link] = [*self.cluster.links]
        count = len(self.cluster.devices)
        if len(links) < count * (count - 1) or not links:
            links.append(self.cluster.link)
        return Link(
            bytes_per_s=max(link.bytes_per_s for link in links), latency_s=min(link.latency_s for link in links)
        )

    @property
    def max_replicas(self) -> int:
        """Devices that one stage may run on."""
        return self.request.max_replicas or len(self.cluster.devices)

    @property
    def num_usable_devices(self) -> int:
        """Devices that a plan can use at most."""
        return min(len(self.cluster.devices), self.max_stages * self.max_replicas)

    @property
    def has_caps(self) -> bool:
        """Whether any device limits memory."""
        return any(math.isfinite(kind.cap_bytes) for kind in self.kinds)

    @property
    def lacking_bytes(self) -> float:
        """What the devices of any ``max_stages`` stages lack to hold the parameters and buffers alone; 0: nothing."""
        caps = sorted((self.cap_of(device) for device in range(len(self.cluster.devices))), reverse=True)
        return max(0.0, float(self.graph.holding_bytes.sum()) - sum(caps[: self.max_stages]))

    @cached_property
    def fastest_speeds(self) -> list[float]:
        """Speeds of all devices, fastest first."""
        return sorted((device.speed for device in self.cluster.devices), reverse=True)

    def cap_of(self, device: int) -> float:
        """Memory cap of a device in bytes, infinite where there is none."""
        return next(kind.cap_bytes for kind in self.kinds if device in kind.devices)

    def costs(self, assignment: Assignment) -> Costs:
        """Cost of an assignment on this problem's cluster."""
        return evaluate(self.graph, self.cluster, assignment)

    def fits(self, assignment: Assignment, costs: Costs) -> bool:
        """Whether every stage's peak is within the caps of its devices."""
        return not self.has_caps or not self.misfits(assignment, costs)

    def misfits(self, assignment: Assignment, costs: Costs) -> list[int]:
        """Stages whose peak exceeds a cap of their devices."""
        peaks = stage_peak_bytes(self.graph, assignment, costs.traffic, num_slots=self.request.num_slots)
        return [
            stage
            for stage, devices in enumerate(assignment.devices)
            if peaks[stage] > min(self.cap_of(device) for device in devices)
        ]


def make_problem(profile: Profile, cluster: Cluster, request: PlanRequest) -> Problem:
    """Check the request against graph and cluster.

    Raises :class:`UsageError` for options out of range and :class:`InfeasibleError` for more stages than
    devices or nodes.
    """
    graph = build_graph(profile, lanes=request.lanes)
    num_devices = len(cluster.devices)
    if request.lanes > 1 and cluster.devices[0].type == "cpu":
        raise UsageError(
            f"{request.lanes} lanes were asked for, and a CPU computes one item at a time",
            hint="leave out --lanes, or plan for GPUs",
        )
    if request.microbatch > profile.model.sizes.get("batch", 1):
        raise UsageError(
            f"microbatches of {request.microbatch} items were asked for, and {profile.model.source} was profiled for a "
            f"batch of {profile.model.batch}{'' if 'batch' in profile.model.sizes else ', which does not vary'}",
            hint="plan the model by its name, or profile it with --dynamic batch --batch N",
        )
    unknown = sorted(set(request.memory_caps_bytes) - set(range(num_devices)))
    if unknown:
        raise UsageError(
            f"a memory cap names device {unknown[0]}, and cluster {cluster.name!r} has devices 0 to {num_devices - 1}"
        )
    caps = {
        index: math.inf if cap is None else float(cap)
        for index, device in enumerate(cluster.devices)
        for cap in [request.memory_caps_bytes.get(index, device.memory_bytes)]
    }
    problem = Problem(graph, cluster, request, find_kinds(cluster, caps), _count_stages(request, num_devices))
    _check_pin_range(problem)
    if request.num_stages is not None:
        _check_enough_blocks(problem)
    return problem


def find_kinds(cluster: Cluster, caps: Mapping[int, float]) -> tuple[Kind, ...]:
    """Devices by speed and memory cap in bytes."""
    members: dict[tuple[float, float], list[int]] = {}
    for index, device in enumerate(cluster.devices):
        members.setdefault((device.speed, caps[index]), []).append(index)
    return tuple(Kind(speed, cap, tuple(devices)) for (speed, cap), devices in members.items())


def _count_stages(request: PlanRequest, num_devices: int) -> int:
    if request.num_stages is None:
        if request.exact_num_stages:
            raise UsageError("an exact number of stages is demanded but no number is given", hint="add --stages K")
        return num_devices
    if request.num_stages < 1:
        raise UsageError(f"{request.num_stages} stages were asked for", hint="ask for at least 1, or for 'auto'")
    if request.num_stages > num_devices:
        raise InfeasibleError(
            f"{request.num_stages} stages need {request.num_stages} devices and the cluster has {num_devices}",
            hint=f"ask for at most {num_devices} stages or name a larger cluster",
        )
    return request.num_stages


def _check_pin_range(problem: Problem) -> None:
    last = problem.max_stages - 1
    for pattern, stage in problem.request.pins.items():
        if not 0 <= stage <= last:
            stages = "stage 0 alone" if last == 0 else f"stages 0 to {last}"
            raise InfeasibleError(
                f"pin {pattern}={stage} names stage {stage}, and a plan may have {stages} here",
                hint="pin to one of those, or ask for more stages",
            )


def _check_enough_blocks(problem: Problem) -> None:
    num_blocks = problem.all_blocks.num_blocks
    if problem.max_stages > num_blocks:
        num_nodes = problem.graph.num_nodes
        of_nodes = "" if num_nodes == num_blocks else f" in {num_blocks} pieces that may be apart"
        raise InfeasibleError(
            f"{problem.max_stages} stages need at least {problem.max_stages} nodes and the graph has "
            f"{num_nodes}{of_nodes}",
            hint=f"ask for at most {num_blocks} stages",
        )


def assign_devices(problem: Problem, kinds: Sequence[int], replicas: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Devices of each stage, taken in the cluster's order from the kind that each stage needs.

    Raises an assertion when a kind has too few devices: planners count them.
    """
    free = [list(kind.devices) for kind in problem.kinds]
    devices = []
    for kind, count in zip(kinds, replicas, strict=True):
        assert len(free[kind]) >= count, "a planner used more devices than there are"
        devices.append(tuple(free[kind][:count]))
        del free[kind][:count]
    return tuple(devices)
