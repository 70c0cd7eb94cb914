"""Graphs too large for all their cuts: solve over a choice of cuts, then again around those it took."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from partkit.planners.costs.graph import FloatArray, IntArray
from partkit.planners.problem.blocks import Blocks
from partkit.planners.problem.cuts import chain_cuts
from partkit.planners.problem.pins import NO_PIN
from partkit.planners.problem.problem import Problem
from partkit.planners.search.outcome import Outcome, rank_of
from partkit.planners.search.shares import is_plain
from partkit.planners.search.solve import solve

MAX_BLOCKS = 2_000
"""Blocks up to which all cuts of an order are tried."""

_NUM_CUTS = 1_200
_NUM_ROUNDS = 2


def solve_coarsely(
    problem: Problem, blocks: Blocks, order: IntArray, planner: str, *, num_slots: int | None
) -> Outcome | None:
    """A good plan over one order: of each stretch of equal work the cheapest cut, then all cuts near the best.

    Proves nothing about the cuts that were left out. O(cuts^2 x stages + nodes).
    """
    positions = spread_positions(problem, blocks, order)
    best: Outcome | None = None
    for _ in range(1 + _NUM_ROUNDS):
        longest_s = np.inf
        if best is not None and is_plain(problem):
            longest_s = best.costs.period_s * problem.fastest_speeds[0]
        cuts = chain_cuts(
            blocks, order, problem.best_link, num_slots=num_slots, positions=positions, longest_s=longest_s
        )
        found = solve(problem, cuts, planner, check_peaks=num_slots is not None)
        if found is None:
            break
        if best is not None and rank_of(problem, found) >= rank_of(problem, best):
            break
        best = found
        positions = _near_positions(blocks, order, best)
    return None if best is None else replace(best, bound=0.0, covers_all=False)


def _crossing_s(problem: Problem, blocks: Blocks, order: IntArray) -> FloatArray:
    """Seconds of the values that cross each cut of the order."""
    rank = np.empty(blocks.num_blocks, dtype=np.int64)
    rank[order] = np.arange(blocks.num_blocks)
    graph, link = blocks.graph, problem.best_link
    last = rank[blocks.block_of].copy()
    np.maximum.at(last, graph.use_source, rank[blocks.block_of[graph.use_target]])
    value_s = link.latency_s + graph.output_bytes / link.bytes_per_s
    change = np.zeros(blocks.num_blocks + 2)
    np.add.at(change, rank[blocks.block_of] + 1, value_s)
    np.subtract.at(change, last + 1, value_s)
    crossing_s: FloatArray = np.cumsum(change)[: blocks.num_blocks + 1]
    return crossing_s


def spread_positions(problem: Problem, blocks: Blocks, order: IntArray) -> IntArray:
    """Of each stretch of equal work the cut with least traffic; pinned blocks always have cuts around them."""
    crossing_s = _crossing_s(problem, blocks, order)
    work_s = np.r_[0.0, np.cumsum(blocks.time_s[order])]
    stretch = np.minimum((work_s / max(work_s[-1], 1e-300) * _NUM_CUTS).astype(np.int64), _NUM_CUTS - 1)
    cheapest = np.lexsort((crossing_s, stretch))
    chosen = cheapest[np.r_[True, np.diff(stretch[cheapest]) > 0]]
    pinned = np.flatnonzero(blocks.pin[order] != NO_PIN)[: _NUM_CUTS // 2]
    return _with_ends(blocks, np.r_[chosen, pinned, pinned + 1])


def _near_positions(blocks: Blocks, order: IntArray, outcome: Outcome) -> IntArray:
    """All cuts within reach of the plan's own."""
    stage = outcome.assignment.stage_of[np.unique(blocks.block_of, return_index=True)[1]][order]
    own = np.flatnonzero(np.diff(stage)) + 1
    reach = max(_NUM_CUTS // (2 * max(len(own), 1)), 1)
    return _with_ends(blocks, (own[:, None] + np.arange(-reach, reach + 1)[None, :]).ravel())


def _with_ends(blocks: Blocks, positions: IntArray) -> IntArray:
    inside = positions[(positions > 0) & (positions < blocks.num_blocks)]
    return np.unique(np.r_[0, inside, blocks.num_blocks])
