"""A plan for the devices that remain where some are lost for good."""

from __future__ import annotations

from collections.abc import Collection

from partkit.data.cache import find_profile
from partkit.data.cluster import Cluster
from partkit.data.plan import Plan
from partkit.data.profile import Profile
from partkit.errors import InfeasibleError
from partkit.planners import PlanRequest, plan_as_asked
from partkit.runs.profile_model import profile_model


def plan_without(plan: Plan, lost: Collection[int]) -> Plan:
    """As ``plan`` was asked for, on its cluster without the devices ``lost``, which keep their numbers and stay idle.

    Plans with the profile that ``plan`` was made with where this machine has it, else measures the model on the first
    device that remains. Raises :class:`InfeasibleError` where none remains or the model does not fit on them.
    """
    remaining = [index for index in range(len(plan.cluster.devices)) if index not in lost]
    if not remaining:
        raise InfeasibleError("no device remains", hint="give the plan's cluster more devices than are needed")
    asked = plan.constraints
    found = plan_as_asked(
        find_profile(plan.profile_sha256) or _measured(plan, remaining[0]),
        _of_devices(plan.cluster, remaining),
        PlanRequest(
            num_stages=min(asked.num_stages or len(plan.stages), len(remaining)),
            planner=plan.planner.asked,
            objective=plan.objective,
            memory_caps_bytes={
                remaining.index(int(device)): cap
                for device, cap in asked.memory_caps_bytes.items()
                if int(device) in remaining
            },
            pins=asked.pins,
            keep_together=asked.keep_together,
            granularity=asked.granularity,
            max_replicas=asked.max_replicas,
            num_slots=asked.num_slots,
        ),
    )
    stages = tuple(
        stage.model_copy(update={"devices": tuple(remaining[index] for index in stage.devices)})
        for stage in found.stages
    )
    kept = {"lanes": plan.lanes, "microbatch": plan.microbatch, "max_delay_s": plan.max_delay_s}
    return found.model_copy(update={"cluster": plan.cluster, "stages": stages, "executor": plan.executor, **kept})


def _measured(plan: Plan, device_index: int) -> Profile:
    device = plan.cluster.devices[device_index].type
    return profile_model(plan.model, device=device, device_index=device_index if device == "cuda" else 0)


def _of_devices(cluster: Cluster, remaining: Collection[int]) -> Cluster:
    """The part of a cluster, its devices numbered anew."""
    number = {index: position for position, index in enumerate(remaining)}
    links = tuple(
        link.model_copy(update={"source": number[link.source], "target": number[link.target]})
        for link in cluster.links
        if link.source in number and link.target in number
    )
    return cluster.model_copy(update={"devices": tuple(cluster.devices[index] for index in remaining), "links": links})
