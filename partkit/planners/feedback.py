"""Node times corrected by what whole stages took, so that a plan can be made again from better figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from partkit.data.plan import Plan
from partkit.data.profile import Calibration, Profile
from partkit.errors import MismatchError


def rescale(profile: Profile, plan: Plan, measured_stage_s: Sequence[float]) -> Profile:
    """``profile`` with the times of each stage's nodes scaled so that they sum to what the stage took.

    ``measured_stage_s`` holds the compute seconds of one item for each stage of ``plan``, on its own device;
    the device's ``speed`` is divided out. Stages of nodes without time keep them. The calibration is then 1.
    Raises :class:`MismatchError` for another number of stages, a time that is not positive, or nodes that the
    profile lacks.
    """
    if len(measured_stage_s) != len(plan.stages):
        raise MismatchError(f"{len(measured_stage_s)} stage times were given for a plan of {len(plan.stages)} stages")
    bad = [seconds for seconds in measured_stage_s if not (math.isfinite(seconds) and seconds > 0)]
    if bad:
        raise MismatchError(f"a measured stage time is {bad[0]} s, and times must be positive")
    time_by_node = {node.name: node.time_s for node in profile.nodes}
    missing = [name for name in plan.stage_by_node if name not in time_by_node]
    if missing:
        raise MismatchError(
            f"the profile lacks {len(missing)} of the plan's nodes, {missing[0]!r} first",
            hint="use the profile that the plan was made from",
        )
    scale = profile.calibration.scale
    factor_by_node: dict[str, float] = {}
    for stage, seconds in zip(plan.stages, measured_stage_s, strict=True):
        speed = min(plan.cluster.devices[device].speed for device in stage.devices)
        predicted_s = sum(time_by_node[name] for name in stage.nodes)
        factor = seconds * speed / predicted_s if predicted_s > 0 else scale
        factor_by_node.update(dict.fromkeys(stage.nodes, factor))
    nodes = tuple(
        node.model_copy(update={"time_s": node.time_s * factor_by_node.get(node.name, scale)}) for node in profile.nodes
    )
    return profile.model_copy(update={"nodes": nodes, "calibration": Calibration(scale=1.0)})
