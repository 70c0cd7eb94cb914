"""Why no plan satisfies a request, with the numbers and what would."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from partkit.data.units import format_bytes
from partkit.errors import InfeasibleError
from partkit.planners.costs.cost import stage_peak_bytes
from partkit.planners.enough_devices import enough_devices, too_few_devices
from partkit.planners.problem.pins import NO_PIN
from partkit.planners.problem.problem import Problem, find_kinds
from partkit.planners.search.outcome import Outcome

_LIMIT_S = 8.0

Planner = Callable[[Problem], Outcome | None]


def no_plan(problem: Problem, planner: Planner, name: str, model: str) -> InfeasibleError:
    """The error for a request that the planner called ``name`` found no plan of ``model`` for."""
    empty = _stage_without_nodes(problem)
    if empty is not None:
        highest = max(problem.request.pins.items(), key=lambda pin: pin[1])
        return InfeasibleError(
            f"stage {empty} would have no node: by the pins and the graph's order each of the "
            f"{problem.graph.num_nodes} nodes belongs to another stage",
            hint=f"lower the pin {highest[0]}={highest[1]}, or drop the pins that empty stage {empty}",
        )
    enough = enough_devices(problem, planner)
    if enough is not None:
        return too_few_devices(problem, enough, model)
    if problem.has_caps and planner(_with_floor(problem, math.inf)) is not None:
        return _caps_too_small(problem, planner)
    request = problem.request
    if request.pins:
        pins = ", ".join(f"{pattern}={stage}" for pattern, stage in request.pins.items())
        return InfeasibleError(
            f"planner {name!r} found no plan of at most {problem.max_stages} stages that meets the pins {pins}",
            hint="drop a pin, ask for more stages or use --planner ideals",
        )
    return InfeasibleError(
        f"planner {name!r} cannot make exactly {problem.max_stages} stages of {problem.all_blocks.num_blocks} pieces",
        hint="ask for fewer stages",
    )


def _stage_without_nodes(problem: Problem) -> int | None:
    """The first stage below the last pinned one that no block may stand in."""
    blocks = problem.all_blocks
    if not problem.request.pins:
        return None
    earliest = np.where(blocks.pin == NO_PIN, 0, blocks.pin)
    latest = np.where(blocks.pin == NO_PIN, problem.max_stages - 1, blocks.pin)
    if blocks.has_input:
        latest[0] = 0
    for block in range(blocks.num_blocks):
        earliest[block] = max([earliest[block], *earliest[blocks.predecessors[block]].tolist()])
    for block in range(blocks.num_blocks - 1, -1, -1):
        latest[block] = min([latest[block], *latest[blocks.successors[block]].tolist()])
    for stage in range(int(blocks.pin.max()) + 1):
        if not ((earliest <= stage) & (stage <= latest)).any():
            return stage
    return None


def _caps_too_small(problem: Problem, planner: Planner) -> InfeasibleError:
    """Names the smallest cap that would do, found by bisection over plans."""
    caps = [problem.cap_of(device) for device in range(len(problem.cluster.devices))]
    needed = smallest_floor(problem, planner)
    low = [index for index, cap in enumerate(caps) if cap < needed]
    tightest = min(low, key=lambda index: caps[index])
    name = problem.cluster.devices[tightest].name
    held = format_bytes(problem.graph.holding_bytes.sum())
    lacking = (
        f"; {format_bytes(problem.lacking_bytes)} are lacking in all"
        if problem.lacking_bytes and len(problem.kinds) > 1
        else ""
    )
    more = "more devices or " if len(problem.kinds) > 1 else ""  # of like ones no number was found that does
    who = f"devices {', '.join(map(str, low))}" if len(low) > 1 else f"device {low[0]}"
    return InfeasibleError(
        f"the model does not fit: {held} of parameters and buffers and its live values on at most "
        f"{problem.max_stages} of {len(caps)} devices, of which device {tightest} ({name!r}) may hold "
        f"{format_bytes(caps[tightest])}{lacking}",
        hint=f"the smallest cap found to fit is {needed} bytes ({format_bytes(needed)}) on {who}; else use "
        f"{more}a smaller batch",
    )


def smallest_floor(problem: Problem, planner: Planner) -> int:
    """Least bytes to which lower caps must be raised for a plan of ``planner``'s, within a limit on time.

    Feasibility grows with the floor, so it is bisected; a plan that is found lowers the upper end to what it needs.
    """
    started_s = time.perf_counter()
    high = _needed(problem, planner, math.inf)
    assert high is not None, "infeasible without caps"
    low = int(min(kind.cap_bytes for kind in problem.kinds))
    while high - low > 1 and time.perf_counter() - started_s < _LIMIT_S:
        middle = (low + high) // 2
        needed = _needed(problem, planner, middle)
        low, high = (middle, high) if needed is None else (low, min(needed, high))
    return high


def _needed(problem: Problem, planner: Planner, floor: float) -> int | None:
    """Largest peak on devices whose cap had to be raised, for a plan under ``floor``; None where there is none."""
    raised = _with_floor(problem, floor)
    found = planner(raised)
    if found is None:
        return None
    peaks = stage_peak_bytes(problem.graph, found.assignment, found.costs.traffic, num_slots=problem.request.num_slots)
    least = min(kind.cap_bytes for kind in problem.kinds)
    over = [
        peak
        for peak, devices in zip(peaks.tolist(), found.assignment.devices, strict=True)
        if peak > min(problem.cap_of(device) for device in devices)
    ]
    return math.ceil(max(over, default=least))


def _with_floor(problem: Problem, floor: float) -> Problem:
    """The problem with every cap at least ``floor``."""
    devices = range(len(problem.cluster.devices))
    caps = {index: max(problem.cap_of(index), floor) for index in devices}
    return replace(problem, kinds=find_kinds(problem.cluster, caps), started_s=time.perf_counter())
