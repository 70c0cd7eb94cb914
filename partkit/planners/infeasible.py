"""Why no plan satisfies a request, with the numbers and what would."""

from __future__ import annotations

import math

import numpy as np

from partkit.cost import Assignment, stage_peak_bytes
from partkit.errors import InfeasibleError
from partkit.planners.problem import Problem
from partkit.units import format_bytes


def no_plan(problem: Problem, planner: str) -> InfeasibleError:
    """The error for a request that ``planner`` found no plan for."""
    if problem.has_caps:
        return _too_small(problem, planner)
    request = problem.request
    if request.pins:
        pins = ", ".join(f"{pattern}={stage}" for pattern, stage in request.pins.items())
        return InfeasibleError(
            f"planner {planner!r} found no order of at most {problem.max_stages} stages that meets the pins {pins}",
            hint="drop a pin, ask for more stages or use --planner ideals",
        )
    return InfeasibleError(
        f"planner {planner!r} cannot make exactly {problem.max_stages} stages of "
        f"{problem.all_blocks.num_blocks} pieces",
        hint="ask for fewer stages",
    )


def _too_small(problem: Problem, planner: str) -> InfeasibleError:
    caps = [problem.cap_of(device) for device in range(len(problem.cluster.devices))]
    held = np.zeros(problem.graph.num_nodes)
    np.add.at(held, problem.graph.held_node, problem.graph.holding_bytes[problem.graph.held_holding])
    largest = int(np.argmax(held + problem.graph.output_bytes))
    needed = held[largest] + problem.graph.output_bytes[largest]
    device = int(np.argmax(caps))
    name = problem.cluster.devices[device].name
    if needed > caps[device]:
        return InfeasibleError(
            f"node {problem.graph.nodes[largest].name!r} alone needs {format_bytes(needed)} and the largest device, "
            f"{name!r}, may hold {format_bytes(caps[device])}",
            hint=f"raise its memory cap to at least {format_bytes(needed)}",
        )
    whole = Assignment(np.zeros(problem.graph.num_nodes, dtype=np.int64), ((device,),))
    total = stage_peak_bytes(problem.graph, whole, problem.costs(whole).traffic, num_slots=1)[0]
    capacity = sum(sorted(caps, reverse=True)[: problem.max_stages])
    room = "without limit" if math.isinf(capacity) else format_bytes(capacity)
    return InfeasibleError(
        f"the model does not fit: {format_bytes(problem.graph.holding_bytes.sum())} of parameters and buffers "
        f"({format_bytes(total)} with live values, on one device) against {room} on {problem.max_stages} devices, "
        f"and planner {planner!r} found no cut where each stage fits its device",
        hint="raise the memory caps, use more devices or a smaller batch",
    )
