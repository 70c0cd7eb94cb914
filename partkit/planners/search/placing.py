"""Which device each stage gets where links or devices differ: device orders tried, each cut again for its links."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from partkit.data.cluster import Link
from partkit.planners.costs.cost import Assignment, combine
from partkit.planners.costs.graph import FloatArray, IntArray
from partkit.planners.problem.cuts import Cuts, chain_cuts
from partkit.planners.problem.problem import TOLERANCE, Problem
from partkit.planners.search.coarse import MAX_BLOCKS
from partkit.planners.search.outcome import Outcome, rank_of

LIMIT_S = 3.0
MAX_ORDERS = 750
"""Device orders up to which all are tried: those of 6 devices."""


def place(problem: Problem, known: Outcome) -> Outcome:
    """``known``, or a better plan on another order of the devices; no proof beyond that of ``known``.

    All orders of few devices are tried, else swaps of two while one helps. An order is first given to the stages as
    they are, then the blocks, in the order that the plan has them, are cut again by a programme that prices each
    stage's traffic at the links to its neighbours. O(stages x cuts^2) an order, for :data:`LIMIT_S` at most.
    """
    differ = problem.cluster.links or len(problem.kinds) > 1
    if not differ or problem.max_replicas > 1 or problem.blocks.num_blocks > MAX_BLOCKS or _is_proved(problem, known):
        return known
    search = _OrderSearch(problem, known)
    search.run()
    return search.best


def _is_proved(problem: Problem, known: Outcome) -> bool:
    return known.covers_all and rank_of(problem, known)[0] <= known.bound * (1 + TOLERANCE)


class _OrderSearch:
    """Device orders for one order of the blocks."""

    def __init__(self, problem: Problem, known: Outcome) -> None:
        self._problem, self._known = problem, known
        self.best = known
        self._deadline_s = time.perf_counter() + LIMIT_S
        self._cuts: dict[Link, Cuts] = {}
        stage = known.assignment.stage_of[np.unique(problem.blocks.block_of, return_index=True)[1]]
        self._block_order: IntArray = np.lexsort((np.arange(problem.blocks.num_blocks), stage))

    def run(self) -> None:
        """Leave the best plan in ``best``."""
        used = [devices[0] for devices in self._known.assignment.devices]
        order = used + [device for device in range(len(self._problem.cluster.devices)) if device not in used]
        num_used = self._problem.max_stages
        if math.perm(len(order), num_used) <= MAX_ORDERS:
            for some in itertools.permutations(order, num_used):
                self._try(some)
            return
        while (better := next(filter(self._try, _swaps(order, num_used)), None)) is not None:
            order = list(better)

    def _try(self, order: Sequence[int]) -> bool:
        """Whether this order of the devices gives a better plan than the best so far."""
        if time.perf_counter() > self._deadline_s:
            return False
        before = rank_of(self._problem, self.best)
        stages = self.best.assignment
        self._offer(Assignment(stages.stage_of, tuple((device,) for device in order[: stages.num_stages])))
        if self._problem.request.objective == "throughput":
            ends = self._cut_for(order)
            if ends is not None:
                self._offer(self._assignment(ends, order))
        return rank_of(self._problem, self.best) < before

    def _offer(self, assignment: Assignment) -> None:
        costs = self._problem.costs(assignment)
        found = replace(
            self.best, assignment=assignment, costs=costs, detail=f"{self._known.detail}; devices reordered"
        )
        is_better = rank_of(self._problem, found) < rank_of(self._problem, self.best)
        if is_better and self._problem.fits(assignment, costs):
            self.best = found

    def _assignment(self, ends: Sequence[int], order: Sequence[int]) -> Assignment:
        blocks = self._problem.blocks
        stage_of_block = np.empty(blocks.num_blocks, dtype=np.int64)
        stage_of_block[self._block_order] = np.searchsorted(ends, np.arange(blocks.num_blocks), side="right")
        devices = tuple((device,) for device in order[: len(ends)])
        return Assignment(stage_of_block[blocks.block_of], devices)

    def _cut_for(self, order: Sequence[int]) -> list[int] | None:
        """Ends of the stages on these devices, by the smallest largest period; None when a pin cannot be met."""
        tables = [self._table(order, stage) for stage in range(self._problem.max_stages)]
        size = len(tables[0])
        value = np.full(size, np.inf)
        value[0] = -np.inf
        values = [value]
        for table in tables:
            values.append(np.maximum(table, values[-1]).min(axis=1))
        exact = self._problem.request.exact_num_stages
        counts = [len(tables)] if exact else range(1, len(tables) + 1)
        count = min(counts, key=lambda count: (values[count][-1], count))
        if np.isinf(values[count][-1]):
            return None
        ends = [size - 1]
        for stage in range(count - 1, 0, -1):
            ends.append(int(np.maximum(tables[stage][ends[-1]], values[stage]).argmin()))
        return ends[::-1]

    def _table(self, order: Sequence[int], stage: int) -> FloatArray:
        """[end, start]: period of the stage, its traffic over the links to the devices before and after it."""
        problem, device = self._problem, order[stage]
        cluster = problem.cluster
        inward = cluster.link_between(order[stage - 1], device) if stage else cluster.link
        outward = cluster.link_between(device, order[stage + 1]) if stage + 1 < len(order) else cluster.link
        receive_s, cuts = self._cuts_over(inward).receive_s, self._cuts_over(outward)
        compute_s = (cuts.work_s[:, None] - cuts.work_s[None, :]) / cluster.devices[device].speed
        table = combine(compute_s, cuts.send_s, receive_s, overlap=cluster.overlap)
        if problem.request.pins:
            off_pin = cuts.off_pin(stage)
            table[off_pin[:, None] != off_pin[None, :]] = np.inf
        return table

    def _cuts_over(self, link: Link) -> Cuts:
        key = Link(bytes_per_s=link.bytes_per_s, latency_s=link.latency_s)
        if key not in self._cuts:
            self._cuts[key] = chain_cuts(self._problem.blocks, self._block_order, key, num_slots=None)
        return self._cuts[key]


def _swaps(order: Sequence[int], num_used: int) -> Iterator[tuple[int, ...]]:
    """The orders that differ by two devices, at least one of them used."""
    for first in range(num_used):
        for second in range(first + 1, len(order)):
            swapped = list(order)
            swapped[first], swapped[second] = swapped[second], swapped[first]
            yield tuple(swapped)
