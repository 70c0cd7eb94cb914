"""Costs between every two downsets of a graph, by matrix products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partkit.cluster import Link
from partkit.graph import BoolArray, FloatArray, Graph, IntArray
from partkit.planners.blocks import Blocks
from partkit.planners.cuts import Cuts

_ROWS_AT_ONCE = 256


def downset_cuts(blocks: Blocks, members: BoolArray, link: Link, *, num_slots: int | None) -> Cuts:
    """Cuts at the downsets ``members`` (rows, by rising size): see :class:`Cuts`.

    With ``num_slots`` the memory table holds what does not depend on the order of execution, parameters,
    buffers and slots: a lower bound on the peak.

    A value is received between downsets I and J when its producer is in I and more of its consumers are in
    J than in I: the sum over m of [m consumers in I] x [more than m in J], so a product of two matrices
    with a column for each use. It is sent when its producer is in J, not in I, and a consumer not in J.
    """
    graph = blocks.graph
    values = Users.of_values(blocks)
    value_s = link.latency_s + graph.output_bytes / link.bytes_per_s
    receive_s = _first_uses(values, members, value_s)
    send_s = _sends(values, members, value_s)
    memory_bytes = None
    if num_slots is not None:
        slots = _first_uses(values, members, graph.output_bytes) + _sends(values, members, graph.output_bytes)
        holdings = Users.of_holdings(blocks)
        memory_bytes = num_slots * slots + _first_uses(holdings, members, graph.holding_bytes)
    apart = ~_is_subset(members)
    receive_s[apart] = send_s[apart] = np.inf
    return Cuts(blocks, members, members @ blocks.time_s, receive_s, send_s, memory_bytes)


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
        return members.astype(np.float32) @ self.user.T.astype(np.float32)


def _first_uses(users: Users, members: BoolArray, weight: FloatArray) -> FloatArray:
    """[end, start]: weight of the items made within ``start`` that a block between the two uses."""
    made, count = users.is_made(members), users.count(members)
    of_start, of_end = [], []
    for number in range(int(users.user.sum(axis=1).max(initial=0))):
        some = users.user.sum(axis=1) > number
        of_start.append((made & (count == number))[:, some] * weight[users.item[some]])
        of_end.append((count > number)[:, some])
    return _product(of_end, of_start, len(members))


def _sends(users: Users, members: BoolArray, weight: FloatArray) -> FloatArray:
    """[end, start]: weight of the items made between the two that a block outside ``end`` uses."""
    made = users.is_made(members)
    wanted = (users.count(members) < users.user.sum(axis=1)) * weight[users.item]
    table = _product([wanted], [made], len(members))
    total = (made * wanted).sum(axis=1)
    sent: FloatArray = np.maximum(total[:, None] - table, 0.0)
    return sent


def _product(left: list[np.ndarray], right: list[np.ndarray], size: int) -> FloatArray:
    if not left:
        return np.zeros((size, size))
    a, b = np.concatenate(left, axis=1), np.concatenate(right, axis=1)
    useful = a.any(axis=0) & b.any(axis=0)
    a, b = a[:, useful].astype(np.float64), b[:, useful].astype(np.float64)
    table = np.zeros((size, size))
    for low in range(0, size, _ROWS_AT_ONCE):
        high = min(low + _ROWS_AT_ONCE, size)
        np.matmul(a[low:high], b[:high].T, out=table[low:high, :high])
    return table


def _is_subset(members: BoolArray) -> BoolArray:
    """[end, start]: whether ``start`` is a proper subset of ``end``."""
    size = members.sum(axis=1)
    rows = members.astype(np.float32)
    common = rows @ rows.T
    subset: BoolArray = (common == size[None, :]) & (size[None, :] < size[:, None])
    return subset
