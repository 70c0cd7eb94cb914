"""How many like devices a model needs that too few of them cannot hold."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from partkit.data.units import format_bytes
from partkit.errors import TooFewDevicesError
from partkit.planners.costs.cost import stage_peak_bytes
from partkit.planners.costs.graph import sum_by
from partkit.planners.problem.problem import Problem, find_kinds
from partkit.planners.search.outcome import Outcome

_LIMIT_S = 8.0

Planner = Callable[[Problem], Outcome | None]


@dataclass(frozen=True)
class Enough:
    """The smallest number of devices found to do, and what the stages of a plan then take."""

    num_devices: int
    peak_bytes: tuple[int, ...]


def like_devices_cap(problem: Problem) -> int | None:
    """Memory cap in bytes of each device where all are alike and limited; else None: nobody knows another one's.

    CPU devices share their host's memory, so that another one brings more only where its cap was given.
    """
    (kind, *others) = problem.kinds
    if others or math.isinf(kind.cap_bytes):
        return None
    if problem.cluster.shared_cores is not None and not problem.request.memory_caps_bytes:
        return None
    return int(kind.cap_bytes)


def enough_devices(problem: Problem, planner: Planner) -> Enough | None:
    """How many devices like the problem's are enough, where it may have too few; None where no number was found.

    What fits on n devices fits on more. So numbers from the bytes' own lower bound upwards are tried in growing steps,
    then the last step is bisected, within a limit on time.
    """
    cap, started_s = like_devices_cap(problem), time.perf_counter()
    if cap is None or heaviest_node_bytes(problem) > cap:
        return None
    too_few, step, most = least_devices(problem, cap) - 1, 1, problem.all_blocks.num_blocks
    found: Enough | None = None
    while found is None or found.num_devices - too_few > 1:
        if time.perf_counter() - started_s > _LIMIT_S or (found is None and too_few >= most):
            break
        tried = min(too_few + step, most) if found is None else (too_few + found.num_devices) // 2
        enough = _planned_for(problem, planner, tried, cap)
        found, too_few, step = (found, tried, 2 * step) if enough is None else (enough, too_few, step)
    return found


def least_devices(problem: Problem, cap_bytes: int) -> int:
    """A lower bound: more than the problem may use, and enough for the parameters and buffers alone."""
    return max(problem.max_stages + 1, math.ceil(float(problem.graph.holding_bytes.sum()) / cap_bytes))


def heaviest_node_bytes(problem: Problem) -> int:
    """Parameters and buffers of the node that holds most, which no number of devices divides."""
    graph = problem.graph
    return int(sum_by(graph.held_node, graph.holding_bytes[graph.held_holding], graph.num_nodes).max(initial=0.0))


def too_few_devices(problem: Problem, enough: Enough, name: str) -> TooFewDevicesError:
    """The error that names the number which would do, for the model called ``name``."""
    cap = like_devices_cap(problem)
    assert cap is not None, "of like devices"
    had, needed, held = problem.max_stages, sum(enough.peak_bytes), int(problem.graph.holding_bytes.sum())
    each = "1 device" if had == 1 else f"{had} devices"
    cannot = "" if needed > had * cap else ", which no cut fills"
    return TooFewDevicesError(
        f"{name} needs {format_bytes(needed)} ({format_bytes(held)} of it parameters and buffers), and {each} of "
        f"{format_bytes(cap)} hold{'s' if had == 1 else ''} {format_bytes(had * cap)}{cannot}: {enough.num_devices} "
        f"such devices do, with {format_bytes(max(enough.peak_bytes))} on the fullest",
        num_devices=enough.num_devices,
        hint=f"ask for {enough.num_devices} stages"
        + (
            ""
            if enough.num_devices <= len(problem.cluster.devices)
            else f", of a cluster with {enough.num_devices} such devices"
        ),
    )


def _planned_for(problem: Problem, planner: Planner, count: int, cap_bytes: int) -> Enough | None:
    """The problem with ``count`` such devices, planned."""
    cluster, request = problem.cluster.with_devices(count), problem.request
    asked = None if request.num_stages is None else count
    more = replace(
        problem,
        cluster=cluster,
        request=request.model_copy(update={"num_stages": asked}),
        kinds=find_kinds(cluster, dict.fromkeys(range(count), float(cap_bytes))),
        max_stages=count,
        started_s=time.perf_counter(),
    )
    found = planner(more)
    if found is None:
        return None
    peaks = stage_peak_bytes(more.graph, found.assignment, found.costs.traffic, num_slots=request.num_slots)
    return Enough(count, tuple(math.ceil(peak) for peak in peaks.tolist()))
