"""Equal numbers of layers on each device: what people write by hand, and what Megatron-LM does."""

from __future__ import annotations

import numpy as np

from partkit.data.module_paths import block_of
from partkit.planners.costs.graph import FloatArray
from partkit.planners.problem.blocks import Blocks
from partkit.planners.problem.problem import Problem
from partkit.planners.search.outcome import Outcome, compact


def plan(problem: Problem) -> Outcome | None:
    """Deal the numbered layers out evenly, in order; what precedes or follows them goes with its neighbour.

    A graph with fewer numbered layers than stages is dealt out by nodes. None where that breaks a pin or a
    memory cap. O(nodes).
    """
    return deal_out(problem, _layer_weights(problem), "even")


def deal_out(
    problem: Problem, weight: FloatArray, planner: str, *, portions: FloatArray | None = None
) -> Outcome | None:
    """Cut the blocks, in the graph's order, into stages of equal weight: the next one opens when a device's
    share of the total is reached. A block without weight stays with the one before it. ``portions``: the weights
    that devices are to have, in proportion, where they are not equal.
    """
    num_stages = min(problem.max_stages, problem.blocks.num_blocks)
    before = np.maximum.accumulate(np.where(weight > 0, np.cumsum(weight) - weight, 0.0))
    portions = np.ones(num_stages) if portions is None else portions[:num_stages]
    opens = np.cumsum(portions)[:-1] / portions.sum()
    stage_of_block = np.searchsorted(opens, before / weight.sum() + 1e-9, side="right")
    assignment = compact(stage_of_block[problem.blocks.block_of], [(device,) for device in range(num_stages)])
    costs = problem.costs(assignment)
    stage_of_block = assignment.stage_of[np.unique(problem.blocks.block_of, return_index=True)[1]]
    pinned = problem.blocks.pin >= 0
    pins_hold = np.array_equal(stage_of_block[pinned], problem.blocks.pin[pinned])
    enough = not problem.request.exact_num_stages or assignment.num_stages == problem.max_stages
    return Outcome(assignment, costs, planner) if pins_hold and enough and problem.fits(assignment, costs) else None


def _layer_weights(problem: Problem) -> FloatArray:
    """One for the first block of each numbered layer, else 0; one for every block where layers are too few."""
    blocks = problem.blocks
    weight = np.zeros(blocks.num_blocks)
    for block in _first_blocks_of_layers(blocks):
        weight[block] += 1.0
    return weight if weight.sum() >= problem.max_stages else np.ones(blocks.num_blocks)


def _first_blocks_of_layers(blocks: Blocks) -> list[int]:
    first: dict[str, int] = {}
    for index, node in enumerate(blocks.graph.nodes):
        layer = block_of(node.module)
        if layer.rpartition(".")[2].isdigit():
            first[layer] = min(first.get(layer, blocks.num_blocks), int(blocks.block_of[index]))
    return list(first.values())
