"""What lanes and batches give on this machine: the whole model on one device, a few pairs timed one after the other."""

from __future__ import annotations

import math
from dataclasses import replace

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.orders import Load, TimeFilling
from partkit.data.plan import Constraints, Plan, Stage
from partkit.data.profile import FilledTime, Profile
from partkit.data.progress import Progress, silent
from partkit.planners.costs.graph import build_graph
from partkit.ranks.group import RankGroup
from partkit.ranks.run_options import RunOptions, job_of

_LANES = (1, 2, 4, 8)
_MOST_AT_ONCE = 32
"""Samples in all lanes together beyond which nothing is looked for."""
_EXECUTOR = "single-graph"


def pairs_of(largest: int, most_lanes: int) -> tuple[tuple[int, int], ...]:
    """Samples of a batch and lanes that are timed: quadruples up to 4, doubles from there, ``largest`` in one lane.

    >>> pairs_of(8, 2)
    ((1, 1), (1, 2), (4, 1), (4, 2), (8, 1), (8, 2))
    >>> pairs_of(1, 8)
    ((1, 1), (1, 2), (1, 4), (1, 8))
    """
    batches = [batch for batch in (1, 4, 8, 16, 32) if batch < largest] + [largest]
    lanes = [count for count in _LANES if count < most_lanes] + [most_lanes]
    return tuple((batch, count) for batch in batches for count in lanes if count == 1 or batch * count <= _MOST_AT_ONCE)


def with_filling(
    profile: Profile,
    *,
    lanes: int | None,
    options: RunOptions,
    progress: Progress | None = None,
) -> Profile:
    """The profile with what batches up to its own give, in ``lanes`` and in one (None: in up to 8; on the CPU in one).

    Of ``options`` count the device, threads, memory and consent. Raises what loading raises.
    """
    tell = progress or silent
    most = 1 if profile.device.type == "cpu" else lanes or _LANES[-1]
    nodes = tuple(node.name for node in build_graph(profile).nodes)
    device = Device(name=profile.device.name or "device", type=profile.device.type)
    plan = Plan(
        model=profile.model,
        executor=_EXECUTOR,
        lanes=most,
        constraints=Constraints(num_slots=1),
        stages=(Stage(index=0, devices=(0,), nodes=nodes),),
        cluster=Cluster(devices=(device,), link=Link(bytes_per_s=1e9)),
    )
    largest = profile.model.batch if "batch" in profile.model.sizes else 1
    least = profile.model.smallest_sizes.get("batch", 1)
    pairs = tuple((batch, count) for batch, count in pairs_of(largest, most) if batch >= least)
    if lanes is not None:
        pairs = tuple(dict.fromkeys([*(pair for pair in pairs if pair[1] in (1, most)), (largest, most)]))
    tell("Timing batches and lanes", 0, 0)
    with RankGroup(job_of(plan, _EXECUTOR, replace(options, loop_graph="off"))) as group:
        group.call(Load())
        (reply,) = group.call(TimeFilling(pairs=pairs))
    samples = 1 if "batch" in profile.model.sizes else profile.model.batch
    times = zip(pairs, reply.seconds, strict=True)
    filling = (
        FilledTime(batch=batch * samples, lanes=count, launch_s=seconds)
        for (batch, count), seconds in times
        if math.isfinite(seconds)
    )
    return profile.model_copy(update={"filling": tuple(filling)})
