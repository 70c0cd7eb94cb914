"""Exact search over all contiguous plans: dynamic programming over the downsets ("ideals") of the graph.

A plan whose stages form an acyclic quotient is a chain of downsets, each stage what lies between two of
them: Tarnawski, Phanishayee, Devanur, Mahajan & Paravecino, "Efficient Algorithms for Device Placement of
DNN Graph Operators" (NeurIPS 2020). Graphs of models are nearly chains, so their downsets are few.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from partkit.planners.algorithms.orders import plan as plan_orders
from partkit.planners.costs.graph import BoolArray, FloatArray
from partkit.planners.problem.blocks import Blocks
from partkit.planners.problem.problem import TOLERANCE, Problem
from partkit.planners.search.coarse import MAX_BLOCKS
from partkit.planners.search.downset_tables import downset_cuts
from partkit.planners.search.downsets import enumerate_downsets, sorted_rows, work_of
from partkit.planners.search.layers import LayerSearch, has_layers
from partkit.planners.search.outcome import Outcome, rank_of, value_of
from partkit.planners.search.solve import solve
from partkit.planners.search.traffic_search import MAX_WORK, QUICK_WORK
from partkit.planners.search.windows import Window, cut_windows, downsets_within

MAX_CUTS = 6_000
"""Downsets that the pair tables may hold: 300 MB each at that size."""
MAX_EASY = 300
"""Downsets up to which the tables of all pairs are made at once."""
_MAX_DECIDED = 4_000
"""Blocks up to which those that no cut can be before or after are worked out."""

_MAX_NEAR = 2_000
"""Downsets near the cuts of a plan, all together, where the tables of all pairs are made at once."""
_MAX_NEAR_A_CUT = 500
"""Downsets near one cut of a plan where they are searched by layers."""
_REACHES = (64, 32, 16, 8, 4, 2, 1)


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
            return None if known is None else _improve_from_near(problem, known)
        fits = found is None or problem.fits(found.assignment, found.costs)
    if not fits:
        found, searched = _search(problem, problem.all_blocks, known, with_memory=True)
        if not searched:
            return known
    return _better(problem, known, found)


def _improve_from_near(problem: Problem, known: Outcome) -> Outcome:
    """The best plan near ``known``, then once more the exact search: fewer cuts may help one that is better."""
    near = search_near(problem, known)
    if near.costs.period_s >= known.costs.period_s * (1 - TOLERANCE):
        return near
    found, searched = _search(problem, problem.blocks, near, with_memory=False)
    if not searched or (found is not None and not problem.fits(found.assignment, found.costs)):
        return near
    return _better(problem, near, found) or near


def search_near(problem: Problem, known: Outcome) -> Outcome:
    """Where all downsets are too many: those near the known plan's cuts, again while that helps. No proof."""
    blocks = problem.blocks
    while blocks.num_blocks <= MAX_BLOCKS and not problem.is_out_of_time:
        upper_s = known.costs.period_s * (1 + TOLERANCE)
        layers = _near_downsets(problem, known, upper_s)
        found = _solve_between(problem, blocks, layers, upper_s, search_work=QUICK_WORK)
        if found is None or found.costs.period_s >= known.costs.period_s * (1 - TOLERANCE):
            break
        if not problem.fits(found.assignment, found.costs):
            break
        told = f"tried {sum(map(len, layers))} places near the best known cuts, of too many to try all"
        known = replace(found, bound=0.0, covers_all=False, detail=told)
    return known


def _near_downsets(problem: Problem, known: Outcome, upper_s: float) -> list[BoolArray]:
    """Around each cut of a plan, downsets that differ from it by the blocks next to it in an order."""
    blocks, devices = problem.blocks, known.assignment.devices
    stage = known.assignment.stage_of[np.unique(blocks.block_of, return_index=True)[1]]
    order = np.lexsort((np.arange(blocks.num_blocks), stage))
    windows = cut_windows(problem, blocks, upper_s)
    num_used = np.cumsum([len(replicas) for replicas in devices])
    limit = _MAX_NEAR_A_CUT if has_layers(problem) else _MAX_NEAR // len(devices)
    layers = []
    for cut in range(1, len(devices)):
        place = int(np.searchsorted(stage[order], cut))
        layers.append(np.array([stage < cut]))
        for reach in _REACHES:
            inner, outer = np.zeros((2, blocks.num_blocks), dtype=bool)
            inner[order[: max(place - reach, 1)]] = outer[order[: place + reach]] = True
            window = windows[num_used[cut - 1] - 1]
            near = downsets_within(blocks, problem.best_link, window, limit, inner=inner, outer=outer)
            if near is not None:
                layers[-1] = near
                break
    return layers


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
    if problem.is_out_of_time:
        return None, False
    upper_s = np.inf
    if known is not None and problem.request.objective == "throughput":
        upper_s = known.costs.period_s * (1 + TOLERANCE)
    layers = _cuts_within(problem, blocks, upper_s)
    if layers is None:
        return None, False
    found = _solve_between(problem, blocks, layers, upper_s, with_memory=with_memory)
    detail = f"tried all {len(sorted_rows(blocks, layers))} places where a cut may help"
    return (None, False) if found is None else (replace(found, covers_all=True, detail=detail), True)


def _cuts_within(problem: Problem, blocks: Blocks, upper_s: float) -> list[BoolArray] | None:
    """For each number of devices before a cut, the downsets where it may be; None where they are too many."""
    limit, windows = problem.request.max_ideals, cut_windows(problem, blocks, upper_s)
    if blocks.num_blocks > _MAX_DECIDED:
        members = enumerate_downsets(blocks, limit)
        return None if members is None else [members[useful(windows, work_of(members, blocks.time_s))]]
    middle_first = sorted(range(len(windows)), key=lambda index: -min(index, len(windows) - 1 - index))
    layers: dict[int, BoolArray] = {}
    for index in middle_first:
        found = downsets_within(blocks, problem.best_link, windows[index], limit)
        if found is None:
            return None
        layers[index] = found
    return [layers[index] for index in range(len(windows))]


def _solve_between(
    problem: Problem,
    blocks: Blocks,
    layers: list[BoolArray],
    upper_s: float,
    *,
    with_memory: bool = False,
    search_work: int = MAX_WORK,
) -> Outcome | None:
    """The best plan that cuts at those downsets; None where there is none within ``upper_s``, or they are too many.

    ``layers`` holds them by the number of devices before the cut. Where there are many, those that no plan within
    ``upper_s`` cuts at are ruled out first.
    """
    members = sorted_rows(blocks, layers)
    if np.isfinite(upper_s) and not with_memory and has_layers(problem) and len(members) > MAX_EASY:
        narrowed = LayerSearch.of(problem, blocks).narrow(layers, upper_s)
        if narrowed is None:
            return None
        members = narrowed.members
    if len(members) > MAX_CUTS:
        return None
    num_slots = problem.request.num_slots if with_memory else None
    longest_s = upper_s * problem.fastest_speeds[0] * problem.max_replicas
    cuts = downset_cuts(blocks, members, problem.best_link, num_slots=num_slots, longest_s=longest_s)
    return solve(problem, cuts, "ideals", check_peaks=with_memory, search_work=search_work)


def useful(windows: list[Window], work_s: FloatArray) -> BoolArray:
    """Downsets whose work lies in one of the windows, and the first and the last."""
    useful: BoolArray = (work_s <= 0) | (work_s >= work_s[-1])
    for window in windows:
        useful |= (work_s >= work_s[-1] - window.after_s) & (work_s <= window.before_s)
    useful[0] = useful[-1] = True
    return useful
