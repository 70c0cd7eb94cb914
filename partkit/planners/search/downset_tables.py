"""Costs between downsets of a graph, by matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from partkit.data.cluster import Link
from partkit.planners.costs.graph import BoolArray, FloatArray, Graph, IntArray
from partkit.planners.problem.blocks import Blocks
from partkit.planners.problem.cuts import Cuts, band_starts
from partkit.planners.search.downsets import work_of

_ROWS_AT_ONCE = 256


class Side(NamedTuple):
    """Downsets as the starts or the ends of stages: what the traffic between two of them depends on."""

    made: BoolArray
    """[downset, item]: whether the item's producer is inside."""
    num_inside: NDArray[np.float32]
    """[downset, item]: how many of the item's users are inside. Small whole numbers: float32 is exact."""

    def rows(self, some: slice | IntArray | BoolArray) -> Side:
        """Some of the downsets."""
        return Side(self.made[some], self.num_inside[some])


@dataclass(frozen=True, eq=False)
class Users:
    """Which blocks use each item (a value that leaves its block, or a holding).

    A value is received between downsets I and J when its producer is in I and more of its users are in J than in I:
    the sum over m of [m users in I] x [more than m in J], so a product of two matrices for each m. It is sent when
    its producer is in J, not in I, and a user not in J.
    """

    item: IntArray
    producer: IntArray
    """Block that makes the item; -1 for a holding, which is everywhere."""
    user: BoolArray
    """Users of each item, by block."""

    @staticmethod
    def of_values(blocks: Blocks) -> Users:
        """Values that leave their block."""
        made, used = blocks.block_of[blocks.graph.use_source], blocks.block_of[blocks.graph.use_target]
        across = made != used
        item, row = np.unique(blocks.graph.use_source[across], return_inverse=True)
        user = np.zeros((len(item), blocks.num_blocks), dtype=bool)
        user[row, used[across]] = True
        return Users(item, blocks.block_of[item], user)

    @staticmethod
    def of_holdings(blocks: Blocks) -> Users:
        """Parameters, buffers and nodes' own bytes."""
        graph: Graph = blocks.graph
        user = np.zeros((len(graph.holding_bytes), blocks.num_blocks), dtype=bool)
        user[graph.held_holding, blocks.block_of[graph.held_node]] = True
        item = np.arange(len(graph.holding_bytes))
        return Users(item, np.full(len(item), -1), user)

    def side(self, members: BoolArray) -> Side:
        """The downsets ``members`` as an end of stages."""
        users = csr_matrix(self.user.astype(np.float32))
        return Side(self.is_made(members), np.asarray((users @ members.T.astype(np.float32)).T))

    def is_made(self, members: BoolArray) -> BoolArray:
        """For each downset and item, whether the item's producer is inside."""
        made: BoolArray = members[:, self.producer] | (self.producer < 0)
        return made

    def received(self, ends: Side, starts: Side, weight: FloatArray) -> FloatArray:
        """[end, start]: weight of the items made within ``start`` that a block between the two uses."""
        num_users = self.user.sum(axis=1)
        table = np.zeros((len(ends.made), len(starts.made)))
        for number in range(int(num_users.max(initial=0))):
            some = num_users > number
            of_start = (starts.made & (starts.num_inside == number))[:, some]
            table += _product((ends.num_inside > number)[:, some], of_start, weight[some])
        return table

    def sent(self, ends: Side, starts: Side, weight: FloatArray) -> FloatArray:
        """[end, start]: weight of the items made between the two that a block outside ``end`` uses."""
        wanted = ends.num_inside < self.user.sum(axis=1)
        return _product(ends.made & wanted, ~starts.made, weight)


def _product(of_end: BoolArray, of_start: BoolArray, weight: FloatArray) -> FloatArray:
    """[end, start]: the weights of the items that both hold."""
    shared = np.flatnonzero(of_end.any(axis=0) & of_start.any(axis=0))
    product: FloatArray = (of_end[:, shared] * weight[shared]) @ of_start[:, shared].T.astype(np.float64)
    return product


def downset_cuts(
    blocks: Blocks, members: BoolArray, link: Link, *, num_slots: int | None, longest_s: float = np.inf
) -> Cuts:
    """Cuts at the downsets ``members`` (rows, as :func:`sorted_rows` sorts them): see :class:`Cuts`.

    Stages of more work than ``longest_s`` are left out of the tables, which makes them a band. With ``num_slots``
    the memory table holds what does not depend on the order of execution, parameters, buffers and slots: a lower
    bound on the peak.
    """
    graph = blocks.graph
    work_s = work_of(members, blocks.time_s)
    band = _Band(band_starts(work_s, longest_s))
    values = Users.of_values(blocks)
    side = values.side(members)
    value_s = (link.latency_s + graph.output_bytes / link.bytes_per_s)[values.item]
    receive_s, send_s = np.zeros((2, len(members), len(members)))
    for ends, starts in band.squares():
        receive_s[ends, starts] = values.received(side.rows(ends), side.rows(starts), value_s)
        send_s[ends, starts] = values.sent(side.rows(ends), side.rows(starts), value_s)
    memory_bytes = None if num_slots is None else _memory(blocks, members, values, side, num_slots, band)
    apart = ~_is_subset(members, band)
    receive_s[apart] = send_s[apart] = np.inf
    return Cuts(blocks, members, work_s, receive_s, send_s, band.first, memory_bytes)


def _memory(blocks: Blocks, members: BoolArray, values: Users, side: Side, num_slots: int, band: _Band) -> FloatArray:
    """Parameters, buffers and slots of what lies between each two downsets."""
    graph, holdings = blocks.graph, Users.of_holdings(blocks)
    held = holdings.side(members)
    slot_bytes = graph.output_bytes[values.item] * (num_slots * graph.lanes)
    memory_bytes = np.zeros((len(members), len(members)))
    for ends, starts in band.squares():
        memory_bytes[ends, starts] = (
            values.received(side.rows(ends), side.rows(starts), slot_bytes)
            + values.sent(side.rows(ends), side.rows(starts), slot_bytes)
            + holdings.received(held.rows(ends), held.rows(starts), graph.holding_bytes)
        )
    return memory_bytes


@dataclass(frozen=True, eq=False)
class _Band:
    """The part of the tables that is filled: for each end the starts from ``first`` on."""

    first: IntArray

    def squares(self) -> Iterator[tuple[slice, slice]]:
        """Ends and starts, some rows at once, that cover the band."""
        size = len(self.first)
        for low in range(0, size, _ROWS_AT_ONCE):
            high = min(low + _ROWS_AT_ONCE, size)
            yield slice(low, high), slice(int(self.first[low]), high)


def _is_subset(members: BoolArray, band: _Band) -> BoolArray:
    """[end, start]: whether ``start`` is a proper subset of ``end``; not outside the band."""
    size = members.sum(axis=1)
    rows = members.astype(np.float32)
    subset = np.zeros((len(members), len(members)), dtype=bool)
    for ends, starts in band.squares():
        common = rows[ends] @ rows[starts].T
        inside = np.arange(starts.start, starts.stop)[None, :] >= band.first[ends][:, None]
        subset[ends, starts] = (common == size[starts]) & (size[starts] < size[ends][:, None]) & inside
    return subset
