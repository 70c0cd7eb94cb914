"""Exact search over all contiguous plans: dynamic programming over the downsets ("ideals") of the graph.

A plan whose stages form an acyclic quotient is a chain of downsets, each stage what lies between two of
them: Tarnawski, Phanishayee, Devanur, Mahajan & Paravecino, "Efficient Algorithms for Device Placement of
DNN Graph Operators" (NeurIPS 2020). Graphs of models are nearly chains, so their downsets are few.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from partkit.graph import BoolArray, FloatArray
from partkit.planners.blocks import Blocks
from partkit.planners.downset_tables import downset_cuts
from partkit.planners.orders import plan as plan_orders
from partkit.planners.outcome import Outcome, rank_of, value_of
from partkit.planners.problem import TOLERANCE, Problem
from partkit.planners.solve import solve

MAX_CUTS = 6_000
"""Downsets that the pair tables may hold: 300 MB each at that size."""


def plan(problem: Problem) -> Outcome | None:
    """The best contiguous plan, proved, where the downsets are few enough; else the best of several orders.

    O(ideals^2 x uses) for the tables and O(stages x ideals^2) for the programme. Downsets that no plan
    better than the orders' can cut at are left out first.
    """
    return improve(problem, plan_orders(problem))


def improve(problem: Problem, known: Outcome | None) -> Outcome | None:
    """The better of ``known`` and the exact optimum; marked as covering all plans where that was reached."""
    if problem.request.objective == "latency":
        return known
    found: Outcome | None = None
    fits = False
    if problem.request.objective != "memory":
        found, searched = _search(problem, problem.blocks, known, with_memory=False)
        if not searched:
            return known
        fits = found is None or problem.fits(found.assignment, found.costs)
    if not fits:
        found, searched = _search(problem, problem.all_blocks, known, with_memory=True)
        if not searched:
            return known
    return _better(problem, known, found)


def _better(problem: Problem, known: Outcome | None, found: Outcome | None) -> Outcome | None:
    """The better one, with the search's bound; a search that found nothing has proved nothing."""
    if found is None or known is None:
        return found or known
    best = min((found, known), key=lambda outcome: rank_of(problem, outcome))
    bound = min(found.bound, value_of(problem, best))
    return replace(best, planner="ideals", bound=bound, covers_all=True, detail=found.detail)


def _search(
    problem: Problem, blocks: Blocks, known: Outcome | None, *, with_memory: bool
) -> tuple[Outcome | None, bool]:
    """The best plan over the downsets of ``blocks`` (None: none better than ``known``), and whether all were seen."""
    members = None if problem.is_out_of_time else enumerate_downsets(blocks, problem.request.max_ideals)
    if members is None:
        return None, False
    num_downsets = len(members)
    upper_s = np.inf
    if known is not None and problem.request.objective == "throughput":
        upper_s = known.costs.period_s * (1 + TOLERANCE)
        members = members[_useful(problem, members @ blocks.time_s, upper_s)]
    if len(members) > MAX_CUTS:
        return None, False
    num_slots = problem.request.num_slots if with_memory else None
    cuts = downset_cuts(blocks, members, problem.best_link, num_slots=num_slots)
    found = solve(problem, cuts, "ideals", check_peaks=with_memory)
    detail = f"all {num_downsets} downsets of {blocks.num_blocks} blocks, {len(members)} of them where a cut may help"
    return (None if found is None else replace(found, covers_all=True, detail=detail)), True


def _useful(problem: Problem, work_s: FloatArray, upper_s: float) -> BoolArray:
    """Downsets that some number of devices can compute within ``upper_s`` while the others do the rest."""
    count = len(problem.cluster.devices) if problem.request.replicate else problem.max_stages
    speed = np.r_[0.0, np.cumsum(problem.fastest_speeds)]
    useful: BoolArray = (work_s <= 0) | (work_s >= work_s[-1])
    for devices in range(1, count):
        rest_s = work_s[-1] - work_s
        useful |= (work_s <= upper_s * speed[devices]) & (rest_s <= upper_s * speed[count - devices])
    useful[0] = useful[-1] = True
    return useful


def enumerate_downsets(blocks: Blocks, limit: int) -> BoolArray | None:
    """All downsets as rows of block membership, by rising size; None when more than ``limit``.

    Where there are model inputs, only downsets with them (and the empty one): inputs are on stage 0.
    O(downsets x width x degree).
    """
    waits_for = [sum(1 << source for source in sources) for sources in blocks.predecessors]
    first = 1 if blocks.has_input else 0
    sources = [block for block, waits in enumerate(waits_for) if not waits & ~first and not first >> block & 1]
    seen = {0, first}
    frontier = [(first, sources)]
    while frontier:
        downset, available = frontier.pop()
        for block in available:
            larger = downset | (1 << block)
            if larger not in seen:
                seen.add(larger)
                opened = [other for other in blocks.successors[block] if not waits_for[other] & ~larger]
                frontier.append((larger, [other for other in available if other != block] + opened))
        if len(seen) > limit:
            return None
    return _as_rows(blocks, seen)


def _as_rows(blocks: Blocks, downsets: set[int]) -> BoolArray:
    num_bytes = (blocks.num_blocks + 7) // 8
    raw = b"".join(downset.to_bytes(num_bytes, "little") for downset in downsets)
    packed = np.frombuffer(raw, dtype=np.uint8).reshape(len(downsets), num_bytes)
    members = np.unpackbits(packed, axis=1, bitorder="little")[:, : blocks.num_blocks].astype(bool)
    rows: BoolArray = members[np.argsort(members.sum(axis=1), kind="stable")]
    return rows
