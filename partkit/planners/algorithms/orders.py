"""The exact best cut of each of several topological orders: fast on any graph."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from partkit.planners.algorithms.chain import own_order, solve_order
from partkit.planners.costs.graph import IntArray
from partkit.planners.problem.blocks import Blocks
from partkit.planners.problem.pins import NO_PIN
from partkit.planners.problem.problem import TOLERANCE, Problem
from partkit.planners.proofs.bounds import simple_bound
from partkit.planners.search.outcome import Outcome, rank_of, value_of


def plan(problem: Problem) -> Outcome | None:
    """The best of the chain programme over the graph's own order and four others; None when none is feasible.

    Depth-first, reverse depth-first, smallest frontier and by pinned stage. O(orders x chain programme).
    """
    feasible: list[Outcome] = []
    least = simple_bound(problem).value
    for order in orders_of(problem.blocks):
        outcome = None if feasible and problem.is_out_of_time else solve_order(problem, order, "orders")
        if outcome is not None:
            feasible.append(replace(outcome, detail=f"the order {order.__name__!r}"))
            if value_of(problem, outcome) <= least * (1 + TOLERANCE):
                break
    return min(feasible, key=lambda outcome: rank_of(problem, outcome), default=None)


def orders_of(blocks: Blocks) -> list[Callable[[Blocks], IntArray]]:
    """Ways to order the blocks that are worth trying."""
    if blocks.is_chain:
        return [own_order]
    pinned = [by_pinned_stage] if (blocks.pin != NO_PIN).any() else []
    return [own_order, depth_first, reverse_depth_first, smallest_frontier, *pinned]


def depth_first(blocks: Blocks) -> IntArray:
    """Follow each branch to its end before the next one starts: reverse postorder."""
    return _reverse_postorder(blocks.num_blocks, blocks.successors)


def reverse_depth_first(blocks: Blocks) -> IntArray:
    """Follow each branch backwards from where it is used: every block as late as its consumer allows."""
    order = _reverse_postorder(blocks.num_blocks, blocks.predecessors)[::-1]
    if blocks.has_input:
        order = np.r_[0, order[order != 0]]
    return order


def smallest_frontier(blocks: Blocks) -> IntArray:
    """Of the blocks that are ready, always the one after which fewest bytes are waiting for a consumer."""
    graph = blocks.graph
    left: list[set[int]] = [set() for _ in range(graph.num_nodes)]
    reads: list[set[int]] = [set() for _ in range(blocks.num_blocks)]
    makes: list[list[int]] = [[] for _ in range(blocks.num_blocks)]
    for source, target in zip(graph.use_source.tolist(), blocks.block_of[graph.use_target].tolist(), strict=True):
        if blocks.block_of[source] != target:
            left[source].add(target)
            reads[target].add(source)
    for node in range(graph.num_nodes):
        if left[node]:
            makes[int(blocks.block_of[node])].append(node)
    size = graph.output_bytes.tolist()

    def growth(block: int) -> float:
        ends = sum(size[value] for value in reads[block] if len(left[value]) == 1)
        return float(sum(size[value] for value in makes[block]) - ends)

    waits = [len(sources) for sources in blocks.predecessors]
    ready = [(growth(block), block) for block in range(blocks.num_blocks) if not waits[block]]
    if blocks.has_input:
        ready = [(float("-inf"), 0), *((key, block) for key, block in ready if block)]
    heapq.heapify(ready)
    order = []
    while ready:
        key, block = heapq.heappop(ready)
        if key > growth(block) and key != float("-inf"):
            heapq.heappush(ready, (growth(block), block))
            continue
        order.append(block)
        for value in reads[block]:
            left[value].discard(block)
        for target in blocks.successors[block]:
            waits[target] -= 1
            if not waits[target]:
                heapq.heappush(ready, (growth(target), target))
    return np.array(order, dtype=np.int64)


def by_pinned_stage(blocks: Blocks) -> IntArray:
    """What a pinned block depends on comes first, stage by stage; the rest as in the graph's own order."""
    latest = np.where(blocks.pin == NO_PIN, np.iinfo(np.int64).max, blocks.pin)
    for block in range(blocks.num_blocks - 1, -1, -1):
        for target in blocks.successors[block]:
            latest[block] = min(latest[block], latest[target])
    if blocks.has_input:
        latest[0] = -1
    waits = [len(sources) for sources in blocks.predecessors]
    ready = [(int(latest[block]), block) for block in range(blocks.num_blocks) if not waits[block]]
    heapq.heapify(ready)
    order = []
    while ready:
        block = heapq.heappop(ready)[1]
        order.append(block)
        for target in blocks.successors[block]:
            waits[target] -= 1
            if not waits[target]:
                heapq.heappush(ready, (int(latest[target]), target))
    return np.array(order, dtype=np.int64)


def _reverse_postorder(size: int, neighbours: list[list[int]]) -> IntArray:
    """Reverse postorder of a depth-first walk that starts from the lowest block and takes lower ones first.

    Iterative: model graphs are deeper than Python's stack.
    """
    seen = [False] * size
    postorder: list[int] = []
    for root in range(size - 1, -1, -1):
        stack = [(root, iter(sorted(neighbours[root], reverse=True)))] if not seen[root] else []
        seen[root] = True
        while stack:
            block, rest = stack[-1]
            following = next((other for other in rest if not seen[other]), None)
            if following is None:
                postorder.append(block)
                stack.pop()
            else:
                seen[following] = True
                stack.append((following, iter(sorted(neighbours[following], reverse=True))))
    return np.array(postorder[::-1], dtype=np.int64)
