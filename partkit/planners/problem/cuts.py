"""Candidate cuts of a graph and what lies between each pair of them: the tables that the solvers search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from partkit.data.cluster import Link
from partkit.planners.costs.graph import BoolArray, FloatArray, Graph, IntArray, sum_by
from partkit.planners.problem.blocks import Blocks
from partkit.planners.problem.pins import NO_PIN

_SLACK = 1e-9
"""Relative error of sums in another order, many times over."""


@dataclass(frozen=True, eq=False)
class Cuts:
    """Downsets of the blocks, each after those that it holds: the first is empty, the last is everything.

    A stage is what lies between two of them. Tables are indexed ``[end, start]``; where ``start`` is no
    subset of ``end`` they hold infinity. Traffic is over the problem's best link, a value that is sent
    counting once for its sender: exact where links are alike and fanout is "once", else a lower bound.
    """

    blocks: Blocks
    members: BoolArray
    """Which blocks each downset holds."""
    work_s: FloatArray
    """Compute of each downset on a device of speed 1."""
    receive_s: FloatArray
    send_s: FloatArray
    first_start: IntArray
    """For each end, the first start that is in the tables; rises with the end."""
    memory_bytes: FloatArray | None
    """Peak memory of each stage; None where no cap or objective needs it."""

    @property
    def num_cuts(self) -> int:
        """Number of downsets."""
        return len(self.work_s)

    def off_pin(self, stage: int) -> IntArray:
        """For each downset the number of its blocks that are pinned to another stage than ``stage``."""
        other = (self.blocks.pin != NO_PIN) & (self.blocks.pin != stage)
        counts: IntArray = self.members[:, other].sum(axis=1, dtype=np.int64)
        return counts


@dataclass(frozen=True, eq=False)
class _Rectangles:
    """Areas of the (end, start) table, bounds included, each with the index of the item that it counts.

    To add w to a rectangle, only its four corners are changed; running sums down and across then spread it:

        corners            summed down        and across
        .  .  .  .  .      .  .  .  .  .      .  .  .  .  .
        . +w  . -w  .      . +w  . -w  .      .  w  w  .  .
        .  .  .  .  .      . +w  . -w  .      .  w  w  .  .
        . -w  . +w  .      .  .  .  .  .      .  .  .  .  .

    >>> one = _Rectangles(np.array([0]), (np.array([2]), np.array([3])), (np.array([0]), np.array([1])))
    >>> one.sum(np.array([5.0]), 4).astype(int).tolist()
    [[0, 0, 0, 0], [0, 0, 0, 0], [5, 5, 0, 0], [5, 5, 0, 0]]
    """

    item: IntArray
    end: tuple[IntArray, IntArray]
    """First and last end of each rectangle."""
    start: tuple[IntArray, IntArray]
    """First and last start of each rectangle."""

    def sum(self, weight: FloatArray, num_cuts: int) -> FloatArray:
        """For each (end, start), the weights of the items whose rectangles cover it. O(rectangles + cuts^2)."""
        side = num_cuts + 1  # one more, for the corners past the last row and column
        corners = np.zeros(side * side, dtype=np.float64)
        for end, end_sign in ((self.end[0], 1.0), (self.end[1] + 1, -1.0)):
            for start, sign in ((self.start[0], end_sign), (self.start[1] + 1, -end_sign)):
                corners += sum_by(end * side + start, sign * weight[self.item], side * side)
        table: FloatArray = corners.reshape(side, side).cumsum(axis=0).cumsum(axis=1)[:num_cuts, :num_cuts]
        return np.maximum(table, 0.0)


def chain_cuts(
    blocks: Blocks,
    order: IntArray,
    link: Link,
    *,
    num_slots: int | None,
    positions: IntArray | None = None,
    longest_s: float = np.inf,
) -> Cuts:
    """Cuts of one topological ``order`` of the blocks: all, or those before the blocks at ``positions``.

    ``positions`` must begin with 0 and end with the number of blocks. Stages of more work than ``longest_s`` need
    not be looked at. With ``num_slots`` the table of peak memory is made too. O(cuts^2 + uses + blocks x cuts),
    exact with values that skip stages and fan out.

    Segment s is what lies between cuts s and s + 1. A value made in segment 1 and used in segments 3 and 4 gives
    these rectangles of stages (rows: ends, columns: starts):

        segment   0   1   2   3   4            start 0  1  2  3  4
                      made    used used        end 2 S  S             S: sent, made inside and used after the end
        cut     0   1   2   3   4   5              3 S  S  .
                                                   4 S  S  R  R       R: received; in the last column the first use
                                                   5 .  .  R  R  R       inside is in segment 4, else in 3

    In general, made in p and used in c1 < c2 < ..., it is received where some c is inside and p is not: the first use
    c_m inside satisfies c_{m-1} < start <= c_m < end, a rectangle for each m. It is sent where
    start <= p < end <= last use.
    """
    if positions is None:
        positions = np.arange(blocks.num_blocks + 1)
    rank = np.empty(blocks.num_blocks, dtype=np.int64)
    rank[order] = np.arange(blocks.num_blocks)
    segment_of = np.searchsorted(positions, rank, side="right") - 1
    num_cuts = len(positions)
    segment = segment_of[blocks.block_of]
    received, sent = _traffic_rectangles(blocks.graph, segment)
    value_s = link.latency_s + blocks.graph.output_bytes / link.bytes_per_s
    members = rank[None, :] < positions[:, None]
    work_s = np.r_[0.0, np.cumsum(blocks.time_s[order])][positions]
    return Cuts(
        blocks=blocks,
        members=members,
        work_s=work_s,
        receive_s=_lower(received.sum(value_s, num_cuts)),
        send_s=_lower(sent.sum(value_s, num_cuts)),
        first_start=band_starts(work_s, longest_s),
        memory_bytes=None if num_slots is None else _memory(blocks.graph, segment, received, sent, num_slots, num_cuts),
    )


def band_starts(work_s: FloatArray, longest_s: float) -> IntArray:
    """For each end the first start that leaves at most ``longest_s`` of work between them; both sorted by work."""
    rising_s = np.maximum.accumulate(work_s)
    first: IntArray = np.searchsorted(rising_s, rising_s - longest_s - work_s[-1] * _SLACK).astype(np.int64)
    return first


def _lower(table: FloatArray) -> FloatArray:
    """Infinity where ``start`` is not before ``end``: stages are not empty."""
    table[np.triu_indices(len(table))] = np.inf
    return table


def _traffic_rectangles(graph: Graph, segment: IntArray) -> tuple[_Rectangles, _Rectangles]:
    """Where values are received and where they are sent, as :func:`chain_cuts` draws it."""
    made, used = segment[graph.use_source], segment[graph.use_target]
    crossing = made < used
    size = int(segment.max()) + 1
    pairs = np.unique(graph.use_source[crossing] * size + used[crossing])
    value, use = pairs // size, pairs % size
    producer = segment[value]
    is_first = np.r_[True, value[1:] != value[:-1]][: len(value)]
    is_last = np.r_[value[1:] != value[:-1], True][: len(value)]
    before = np.where(is_first, producer, np.r_[0, use[:-1]][: len(value)])
    received = _Rectangles(value, (use + 1, np.full_like(use, size)), (before + 1, use))
    sent = _Rectangles(
        value[is_last], (producer[is_last] + 1, use[is_last]), (np.zeros_like(use[is_last]), producer[is_last])
    )
    return received, sent


def _memory(
    graph: Graph, segment: IntArray, received: _Rectangles, sent: _Rectangles, num_slots: int, num_cuts: int
) -> FloatArray:
    """Peak memory between each pair of cuts when nodes run segment by segment, each in the graph's order."""
    slots = received.sum(graph.output_bytes, num_cuts) + sent.sum(graph.output_bytes, num_cuts)
    parameters = _holding_rectangles(graph, segment).sum(graph.holding_bytes, num_cuts)
    return parameters + (num_slots * slots + _live_bytes(graph, segment, num_cuts)) * graph.lanes


def _holding_rectangles(graph: Graph, segment: IntArray) -> _Rectangles:
    """A holding counts by its first user between the cuts, as a received value does."""
    size = int(segment.max()) + 1
    pairs = np.unique(graph.held_holding * size + segment[graph.held_node])
    holding, use = pairs // size, pairs % size
    is_first = np.r_[True, holding[1:] != holding[:-1]][: len(holding)]
    before = np.where(is_first, -1, np.r_[0, use[:-1]][: len(holding)])
    return _Rectangles(holding, (use + 1, np.full_like(use, size)), (before + 1, use))


def _live_bytes(graph: Graph, segment: IntArray, num_cuts: int) -> FloatArray:
    """Most bytes live at once between each pair of cuts.

    A value that leaves the stage lives to its end, so what is live at a step depends on the stage's start
    alone; the peak is then a running maximum over ends. ``change`` is a difference array over (step, start): a value
    is there from its own step to its last use, for stages that start at or before its segment. O(nodes x cuts).
    """
    num_nodes = graph.num_nodes
    step = np.empty(num_nodes, dtype=np.int64)
    step[np.lexsort((np.arange(num_nodes), segment))] = np.arange(num_nodes)
    last = step.copy()
    np.maximum.at(last, graph.use_source, step[graph.use_target])
    change = np.zeros((num_nodes + 1, num_cuts + 1))
    for at, sign in ((step, 1.0), (last + 1, -1.0)):
        np.add.at(change, (at, np.zeros_like(at)), sign * graph.output_bytes)
        np.add.at(change, (at, segment + 1), -sign * graph.output_bytes)
    live = change.cumsum(axis=0).cumsum(axis=1)[:num_nodes, :num_cuts]
    first_step = np.searchsorted(np.sort(segment), np.arange(num_cuts - 1))
    peak = np.zeros((num_cuts, num_cuts))
    peak[1:] = np.maximum.accumulate(np.maximum.reduceat(live, first_step, axis=0), axis=0)
    return peak
