"""Costs between every two downsets of a graph, by matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from partkit.data.cluster import Link
from partkit.planners.costs.graph import BoolArray, FloatArray, Graph, IntArray
from partkit.planners.problem.blocks import Blocks
from partkit.planners.problem.cuts import Cuts, band_starts
from partkit.planners.search.downsets import work_of

_ROWS_AT_ONCE = 256


def downset_cuts(
    blocks: Blocks, members: BoolArray, link: Link, *, num_slots: int | None, longest_s: float = np.inf
) -> Cuts:
    """Cuts at the downsets ``members`` (rows, as :func:`as_rows` sorts them): see :class:`Cuts`.

    Stages of more work than ``longest_s`` are left out of the tables, which makes them a band. With ``num_slots``
    the memory table holds what does not depend on the order of execution, parameters, buffers and slots: a lower
    bound on the peak.

    A value is received between downsets I and J when its producer is in I and more of its consumers are in
    J than in I: the sum over m of [m consumers in I] x [more than m in J], so a product of two matrices
    with a column for each use. It is sent when its producer is in J, not in I, and a consumer not in J.
    """
    graph = blocks.graph
    work_s = work_of(members, blocks.time_s)
    band = _Band(band_starts(work_s, longest_s))
    values = Users.of_values(blocks)
    value_s = link.latency_s + graph.output_bytes / link.bytes_per_s
    receive_s = _first_uses(values, members, value_s, band)
    send_s = _sends(values, members, value_s, band)
    memory_bytes = None
    if num_slots is not None:
        slots = _first_uses(values, members, graph.output_bytes, band) + _sends(
            values, members, graph.output_bytes, band
        )
        holdings = Users.of_holdings(blocks)
        memory_bytes = num_slots * slots + _first_uses(holdings, members, graph.holding_bytes, band)
    apart = ~_is_subset(members, band)
    receive_s[apart] = send_s[apart] = np.inf
    return Cuts(blocks, members, work_s, receive_s, send_s, band.first, memory_bytes)


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


@dataclass(frozen=True, eq=False)
class Users:
    """Which blocks use each item (a value that leaves its block, or a holding)."""

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

    def is_made(self, members: BoolArray) -> BoolArray:
        """For each downset and item, whether the item's producer is inside."""
        made: BoolArray = members[:, self.producer] | (self.producer < 0)
        return made

    def count(self, members: BoolArray) -> NDArray[np.float32]:
        """For each downset and item, how many of the item's users are inside. Small whole numbers: float32 is exact."""
        users = csr_matrix(self.user.astype(np.float32))
        counts: NDArray[np.float32] = (users @ members.T.astype(np.float32)).T
        return counts


def _first_uses(users: Users, members: BoolArray, weight: FloatArray, band: _Band) -> FloatArray:
    """[end, start]: weight of the items made within ``start`` that a block between the two uses."""
    made, count = users.is_made(members), users.count(members)
    num_users = users.user.sum(axis=1)
    table = np.zeros((len(members), len(members)))
    for number in range(int(num_users.max(initial=0))):
        some = num_users > number
        of_start = (made & (count == number))[:, some]
        _add_product(table, (count > number)[:, some], of_start, weight[users.item[some]], band)
    return table


def _sends(users: Users, members: BoolArray, weight: FloatArray, band: _Band) -> FloatArray:
    """[end, start]: weight of the items made between the two that a block outside ``end`` uses."""
    made = users.is_made(members)
    wanted = users.count(members) < users.user.sum(axis=1)
    own = weight[users.item]
    table = np.zeros((len(members), len(members)))
    _add_product(table, made & wanted, ~made, own, band)
    return table


def _add_product(table: FloatArray, of_end: BoolArray, of_start: BoolArray, weight: FloatArray, band: _Band) -> None:
    """Add, to each [end, start] in the band, the weights of the items that both hold."""
    for ends, starts in band.squares():
        shared = np.flatnonzero(of_end[ends].any(axis=0) & of_start[starts].any(axis=0))
        left = of_end[ends][:, shared] * weight[shared]
        table[ends, starts] += left @ of_start[starts][:, shared].T.astype(np.float64)


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
