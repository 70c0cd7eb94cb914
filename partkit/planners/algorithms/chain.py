"""The exact best cut of one topological order of the graph: its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from partkit.planners.costs.graph import IntArray
from partkit.planners.problem.blocks import Blocks
from partkit.planners.problem.cuts import chain_cuts
from partkit.planners.problem.problem import Problem
from partkit.planners.search.coarse import MAX_BLOCKS, solve_coarsely
from partkit.planners.search.outcome import Outcome
from partkit.planners.search.shares import longest_stage_s
from partkit.planners.search.solve import solve
from partkit.planners.search.traffic_search import MAX_WORK, QUICK_WORK


def plan(problem: Problem) -> Outcome | None:
    """Cut the graph's own order into intervals, best for the objective; None when nothing is feasible.

    O(stages x blocks^2) for uniform devices; see :mod:`partkit.planners.search.bottleneck`. The bound holds for
    every plan where the graph has no other order, that is where it is a chain.
    """
    return solve_order(problem, own_order, "chain")


def own_order(blocks: Blocks) -> IntArray:
    """The blocks in the graph's own order."""
    return np.arange(blocks.num_blocks)


def solve_order(problem: Problem, make_order: Callable[[Blocks], IntArray], planner: str) -> Outcome | None:
    """The best plan over one order of the blocks.

    Caps cost a table and forbid the fusion of idle nodes, so they come in only if the plan without them
    does not fit.
    """
    if problem.request.objective != "memory":
        outcome = _solve_blocks(problem, problem.blocks, make_order, planner, with_memory=False)
        if outcome is None or problem.fits(outcome.assignment, outcome.costs):
            return outcome
    return _solve_blocks(problem, problem.all_blocks, make_order, planner, with_memory=True)


def _solve_blocks(
    problem: Problem, blocks: Blocks, make_order: Callable[[Blocks], IntArray], planner: str, *, with_memory: bool
) -> Outcome | None:
    num_slots = problem.request.num_slots if with_memory else None
    order = make_order(blocks)
    if blocks.num_blocks > MAX_BLOCKS:
        return solve_coarsely(problem, blocks, order, planner, num_slots=num_slots)
    longest_s = np.inf if with_memory else longest_stage_s(problem, blocks, order)
    cuts = chain_cuts(blocks, order, problem.best_link, num_slots=num_slots, longest_s=longest_s)
    search_work = MAX_WORK if blocks.is_chain else QUICK_WORK
    outcome = solve(problem, cuts, planner, check_peaks=with_memory, search_work=search_work)
    in_order = bool((np.diff(blocks.block_of) >= 0).all())
    covers_all = blocks.is_chain and (in_order or not with_memory)
    return None if outcome is None else replace(outcome, covers_all=covers_all)
