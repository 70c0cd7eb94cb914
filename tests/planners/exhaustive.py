"""The best contiguous plan by trying all of them: what the planners are checked against."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from partkit.errors import InfeasibleError
from partkit.planners.costs.cost import Assignment
from partkit.planners.problem.problem import Problem
from partkit.planners.search.outcome import objective_value


def best_value(problem: Problem) -> float:
    """Smallest objective over all assignments and devices; infinite when none is feasible."""
    return min((_value(problem, assignment) for assignment in assignments(problem)), default=float("inf"))


def assignments(problem: Problem) -> Iterator[Assignment]:
    """Every feasible way to place nodes on stages and stages on devices."""
    request = problem.request
    try:
        blocks = problem.all_blocks
    except InfeasibleError:
        return
    for count in range(1, problem.max_stages + 1):
        if request.exact_num_stages and count != problem.max_stages:
            continue
        placements = list(_device_choices(problem, count))
        for stages in itertools.product(range(count), repeat=blocks.num_blocks):
            stage_of_block = np.array(stages, dtype=np.int64)
            if _is_allowed(problem, stage_of_block, count):
                for devices in placements:
                    assignment = Assignment(stage_of_block[blocks.block_of], devices)
                    if problem.fits(assignment, problem.costs(assignment)):
                        yield assignment


def _is_allowed(problem: Problem, stage_of_block: np.ndarray, count: int) -> bool:
    blocks = problem.all_blocks
    forward = (stage_of_block[blocks.edges[:, 0]] <= stage_of_block[blocks.edges[:, 1]]).all()
    pinned = blocks.pin >= 0
    pins = (stage_of_block[pinned] == blocks.pin[pinned]).all()
    inputs = not blocks.has_input or stage_of_block[0] == 0
    return bool(forward and pins and inputs and len(np.unique(stage_of_block)) == count)


def _device_choices(problem: Problem, count: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    devices = range(len(problem.cluster.devices))
    if problem.max_replicas == 1:
        for order in itertools.permutations(devices, count):
            yield tuple((device,) for device in order)
        return
    for owner in itertools.product(range(-1, count), repeat=len(devices)):
        groups = tuple(tuple(d for d in devices if owner[d] == stage) for stage in range(count))
        kinds = [{(problem.cluster.devices[d].speed, problem.cap_of(d)) for d in group} for group in groups]
        if all(len(kind) == 1 for kind in kinds) and max(map(len, groups)) <= problem.max_replicas:
            yield groups


def _value(problem: Problem, assignment: Assignment) -> float:
    return objective_value(problem, assignment, problem.costs(assignment))
