"""Equal shares of the work: a quick plan whose period bounds the stages of the best one."""

from __future__ import annotations

import numpy as np

from partkit.planners.costs.graph import IntArray
from partkit.planners.problem.blocks import Blocks
from partkit.planners.problem.problem import Problem
from partkit.planners.search.outcome import compact


def is_plain(problem: Problem) -> bool:
    """Whether a period bounds a stage's work: one speed, one device a stage, and throughput wanted."""
    return len(problem.kinds) == 1 and problem.max_replicas == 1 and problem.request.objective == "throughput"


def longest_stage_s(problem: Problem, blocks: Blocks, order: IntArray) -> float:
    """Work that no stage of the best plan over this order exceeds: the period of one with equal shares of the work.

    Infinite where equal shares may break the request, or a stage may have devices of several speeds.
    """
    if not is_plain(problem) or problem.request.pins or problem.request.exact_num_stages:
        return float("inf")
    work_s = np.cumsum(blocks.time_s[order])
    share = work_s[-1] / problem.max_stages
    if share <= 0:
        return float("inf")
    stage_of_block = np.empty(blocks.num_blocks, dtype=np.int64)
    middle_s = work_s - blocks.time_s[order] / 2
    stage_of_block[order] = np.minimum((middle_s / share).astype(np.int64), problem.max_stages - 1)
    if blocks.has_input:
        stage_of_block[0] = 0
    found = compact(stage_of_block[blocks.block_of], [(device,) for device in range(problem.max_stages)])
    return problem.costs(found).period_s * problem.fastest_speeds[0]
