"""Equal bytes of parameters on each device: what splits weights without looking at time."""

from __future__ import annotations

import numpy as np

from partkit.planners.algorithms.even import deal_out
from partkit.planners.costs.graph import FloatArray, sum_by
from partkit.planners.problem.problem import Problem
from partkit.planners.search.outcome import Outcome


def plan(problem: Problem) -> Outcome | None:
    """Walk the graph, sum parameter and buffer bytes, open the next device when its share is passed.

    A parameter counts where it is first used. A graph without parameters is dealt out by nodes. None where
    that breaks a pin or a memory cap. O(nodes).
    """
    return deal_out(problem, param_weights(problem), "by_params")


def param_weights(problem: Problem) -> FloatArray:
    """Bytes of parameters and buffers by block, each counted where it is first used."""
    graph, blocks = problem.graph, problem.blocks
    first_block = np.full(len(graph.holding_bytes), blocks.num_blocks)
    np.minimum.at(first_block, graph.held_holding, blocks.block_of[graph.held_node])
    used = first_block < blocks.num_blocks
    weight = sum_by(first_block[used], graph.holding_bytes[used], blocks.num_blocks)
    return weight if weight.sum() > 0 else np.ones(blocks.num_blocks)
