"""Exact search over very many downsets: those that may be the first cut, the second, ... as layers.

    empty ->  layer 1  ->  layer 2  -> ... -> everything         one device a stage, all devices alike

A plan is a way through the layers, a downset of each. Two downsets are priced only where their layers are next to
each other, a few rows at once, and a layer keeps only what can be reached within the known period: a table of all
pairs, as :func:`downset_cuts` makes it, never is. Going back from the end leaves the downsets that lie on a plan
within the period; those few go to the programmes that know ties, latency and what depends on more than two cuts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from partkit.planners.costs.cost import Assignment, combine
from partkit.planners.costs.graph import BoolArray, FloatArray, IntArray
from partkit.planners.problem.blocks import Blocks
from partkit.planners.problem.problem import TOLERANCE, Problem
from partkit.planners.search.downset_tables import Side, Users
from partkit.planners.search.downsets import sorted_rows, work_of
from partkit.planners.search.shares import is_plain

MAX_PAIRS = 40_000_000
"""Pairs of downsets that a search may price: about a second and a half."""
_PAIRS_AT_ONCE = 500_000


def has_layers(problem: Problem) -> bool:
    """Whether the number of stages before a cut is all that counts: devices and links alike, no pins."""
    cluster = problem.cluster
    return is_plain(problem) and not cluster.links and cluster.shared_cores is None and not problem.request.pins


class Narrowed(NamedTuple):
    """The downsets that are left, and what is proved."""

    members: BoolArray
    """Rows as :func:`sorted_rows` sorts them: all cuts of all plans within the period searched for."""
    bound_s: float
    """No contiguous plan has a smaller period, if it has one below the period searched for."""


@dataclass(frozen=True, eq=False)
class _Layer:
    """Downsets that may be the cut after some number of stages."""

    members: BoolArray
    work_s: FloatArray
    side: Side
    value_s: FloatArray
    """Least period of the stages before it."""

    def rows(self, some: slice | IntArray | BoolArray) -> _Layer:
        return _Layer(self.members[some], self.work_s[some], self.side.rows(some), self.value_s[some])

    def __len__(self) -> int:
        return len(self.members)


@dataclass(frozen=True, eq=False)
class LayerSearch:
    """The layers' downsets, and what a stage between two of them costs."""

    problem: Problem
    blocks: Blocks
    users: Users
    value_s: FloatArray

    @staticmethod
    def of(problem: Problem, blocks: Blocks) -> LayerSearch:
        """A search over the blocks' downsets."""
        users, link = Users.of_values(blocks), problem.best_link
        return LayerSearch(
            problem, blocks, users, link.latency_s + blocks.graph.output_bytes[users.item] / link.bytes_per_s
        )

    def narrow(self, layers: list[BoolArray], upper_s: float) -> Narrowed | None:
        """The downsets on plans of period ``upper_s`` or less, or less still once a better plan is found on the way.

        ``layers`` holds the downsets that may be the first cut, the second and so on. None where there is no such
        plan, or the pairs to price are more than :data:`MAX_PAIRS`.
        """
        reached = self._forward(layers, upper_s)
        if reached is None:
            return None
        ends_s = [self._to_the_end(layer) for layer in reached]
        exact = self.problem.request.exact_num_stages
        counts = range(len(reached) if exact else 1, len(reached) + 1)
        least_s = [float(ends_s[count - 1].min(initial=np.inf)) for count in counts]
        bound_s = min(least_s)
        if not bound_s <= upper_s:
            return None
        planned_s = self._planned_s(reached[: counts[least_s.index(bound_s)]])
        within_s = min(upper_s, planned_s * (1 + TOLERANCE))
        return Narrowed(sorted_rows(self.blocks, self._backward(reached, counts, within_s)), bound_s)

    def _planned_s(self, reached: list[_Layer]) -> float:
        """The period of the plan that the layers' values promise, by the exact costs of its stages."""
        end = self._everything
        stage_of_block = np.zeros(self.blocks.num_blocks, dtype=np.int64)
        for layer in reversed(reached[1:]):
            start = int(np.maximum(self._period(end, layer)[0], layer.value_s).argmin())
            end = layer.rows(slice(start, start + 1))
            stage_of_block += ~end.members[0]
        devices = tuple((device,) for device in range(len(reached)))
        return self.problem.costs(Assignment(stage_of_block[self.blocks.block_of], devices)).period_s

    @cached_property
    def _everything(self) -> _Layer:
        return self._layer(np.ones((1, self.blocks.num_blocks), dtype=bool))

    def _layer(self, members: BoolArray) -> _Layer:
        work_s = work_of(members, self.blocks.time_s)
        return _Layer(members, work_s, self.users.side(members), np.full(len(members), -np.inf))

    def _forward(self, layers: list[BoolArray], upper_s: float) -> list[_Layer] | None:
        """Each layer's downsets that stages within ``upper_s`` reach; the first layer is the empty downset alone."""
        starts = self._layer(np.zeros((1, self.blocks.num_blocks), dtype=bool))
        reached, num_pairs = [starts], 0
        for members in layers:
            ends = self._layer(members)
            num_pairs += len(ends) * len(starts)
            if num_pairs > MAX_PAIRS:
                return None
            value_s = np.full(len(ends), np.inf)
            for rows in _slices(len(ends), len(starts)):
                period_s = np.maximum(self._period(ends.rows(rows), starts), starts.value_s)
                value_s[rows] = period_s.min(axis=1, initial=np.inf)
            starts = replace(ends, value_s=value_s).rows(value_s <= upper_s)
            reached.append(starts)
        return reached

    def _backward(self, reached: list[_Layer], counts: range, within_s: float) -> list[BoolArray]:
        """Each layer's downsets from which the end too is reached within ``within_s``."""
        kept: list[BoolArray] = []
        following: _Layer | None = None
        for count in range(len(reached), 0, -1):
            layer = reached[count - 1].rows(reached[count - 1].value_s <= within_s)
            rest_s = self._to_the_end(layer) if count in counts else np.full(len(layer), np.inf)
            if following is not None:
                for rows in _slices(len(layer), len(following)):
                    period_s = self._period(following, layer.rows(rows))
                    through_s = np.maximum(period_s, following.value_s[:, None]).min(axis=0, initial=np.inf)
                    rest_s[rows] = np.minimum(rest_s[rows], through_s)
            following = replace(layer, value_s=rest_s).rows(rest_s <= within_s)
            kept.append(following.members)
        return kept

    def _to_the_end(self, layer: _Layer) -> FloatArray:
        """Least period of a plan whose last stage starts at each downset of the layer."""
        period_s: FloatArray = np.maximum(self._period(self._everything, layer)[0], layer.value_s)
        return period_s

    def _period(self, ends: _Layer, starts: _Layer) -> FloatArray:
        """[end, start]: seconds by item of the stage between the two; infinite where the one is not in the other."""
        compute_s = (ends.work_s[:, None] - starts.work_s[None, :]) / self.problem.fastest_speeds[0]
        sent_s = self.users.sent(ends.side, starts.side, self.value_s)
        received_s = self.users.received(ends.side, starts.side, self.value_s)
        period_s = combine(compute_s, sent_s, received_s, overlap=self.problem.cluster.overlap)
        undecided = np.flatnonzero(~ends.members.all(axis=0) & starts.members.any(axis=0))
        missing = (~ends.members[:, undecided]).astype(np.float32) @ starts.members[:, undecided].T.astype(np.float32)
        is_larger = ends.members.sum(axis=1)[:, None] > starts.members.sum(axis=1)[None, :]
        period_s[(missing > 0) | ~is_larger] = np.inf
        return period_s


def _slices(num_rows: int, num_columns: int) -> Iterator[slice]:
    """Some rows at once, so that a table of them is of moderate size."""
    step = max(_PAIRS_AT_ONCE // max(num_columns, 1), 1)
    for low in range(0, num_rows, step):
        yield slice(low, min(low + step, num_rows))
