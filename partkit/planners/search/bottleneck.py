"""Exact dynamic programmes over cuts: smallest bottleneck, and smallest total under a bottleneck.

A programme has two axes: the cut that the stages so far end at, and the state, which says how many stages there
are and how many devices of each kind they use. Three alike devices, cuts 0 to 4, stages of 3, 1, 2 and 2 seconds:

    state, ends at cut    0     1     2     3     4
    no stage              -inf
    1 stage, 1 device             3     4     6     8
    2 stages, 2 devices                 3     3     4      min over start of max(state before [start], stage)
    3 stages, 3 devices                       3     3      <- the answer: the best of the last column

For uniform devices that is the classic programme for chains: O(K n^2) for K stages and n cuts, in numpy. For
all-different devices the states are the subsets. Idle devices need no care: the answer is the best over all states.
See Bokhari, "Partitioning problems in parallel, pipelined and distributed computing" (IEEE ToC 1988) for
chains and Benoit & Robert, "Mapping pipeline skeletons onto heterogeneous platforms" (JPDC 2008) for why
the number of states is exponential in the kinds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from partkit.planners.costs.graph import BoolArray, FloatArray
from partkit.planners.problem.cuts import Cuts
from partkit.planners.problem.problem import Problem

_ROWS_AT_ONCE = 64
_MAX_STATE_ENTRIES = 300_000_000
"""States times table entries that a programme may take: about three seconds."""

Tables = list[FloatArray]
"""One table [end, start] for each kind of device."""


class State(NamedTuple):
    """What the stages so far have used."""

    num_stages: int
    used: tuple[int, ...]
    """Devices of each kind."""


@dataclass(frozen=True)
class Step:
    """One stage: the cut it ends at, the kind of its devices and their number."""

    end: int
    kind: int
    replicas: int
    devices: tuple[int, ...] = ()
    """Which devices of that kind; empty: the first that are free."""


@dataclass(frozen=True)
class Move:
    """One more stage: the state before it, the kind of its devices and their number."""

    before: State
    kind: int
    replicas: int


@dataclass(frozen=True, eq=False)
class Total:
    """What a programme makes small: the sum of ``cost`` over stages whose limit is within ``threshold``."""

    threshold: float
    cost: Tables


@dataclass(frozen=True, eq=False)
class Solver:
    """Cuts of a problem, the table whose largest entry along a plan counts, and the programmes over them."""

    problem: Problem
    cuts: Cuts
    limit: Tables
    """For each kind, what a stage between two cuts costs; infinite where it may not be. Divided by replicas."""
    max_replicas: int

    @cached_property
    def states(self) -> list[State]:
        """All states in an order in which each comes after its predecessors."""
        if not self.is_exhaustive:
            return [State(sum(used), used) for used in self._prefixes()]
        ranges = [range(len(kind.devices) + 1) for kind in self.problem.kinds]
        counts = sorted(itertools.product(*ranges), key=sum)
        most = self.problem.max_stages
        if not self._counts_stages_apart:
            return [State(sum(used), used) for used in counts if sum(used) <= most or self.max_replicas > 1]
        return [State(stages, used) for stages in range(most + 1) for used in counts if stages <= sum(used)]

    @cached_property
    def is_exhaustive(self) -> bool:
        """Whether all ways to give devices to stages are tried; else stages take devices in the cluster's order."""
        num_states = math.prod(len(kind.devices) + 1 for kind in self.problem.kinds)
        return len(self.problem.kinds) == 1 or num_states * self.cuts.num_cuts**2 <= _MAX_STATE_ENTRIES

    def _prefixes(self) -> list[tuple[int, ...]]:
        """Devices of each kind among the first 0, 1, 2, … of the cluster."""
        used = [0] * len(self.problem.kinds)
        prefixes = [tuple(used)]
        for device in range(self.problem.max_stages):
            kind = next(index for index, kind in enumerate(self.problem.kinds) if device in kind.devices)
            used[kind] += 1
            prefixes.append(tuple(used))
        return prefixes

    @property
    def _counts_stages_apart(self) -> bool:
        """Whether the number of stages must be known beside the number of devices."""
        problem = self.problem
        if self.max_replicas == 1 or not self.is_exhaustive:
            return False
        limited = problem.max_stages < len(problem.cluster.devices) or problem.request.exact_num_stages
        return limited or bool(problem.request.pins)

    def moves(self, state: State) -> Iterator[Move]:
        """Ways to come to a state by one more stage."""
        for kind, count in enumerate(state.used):
            for replicas in range(1, min(count, self.max_replicas) + 1):
                before = (*state.used[:kind], count - replicas, *state.used[kind + 1 :])
                previous = state.num_stages - 1 if self._counts_stages_apart else sum(before)
                if previous >= 0 and (previous > 0) == any(before):
                    yield Move(State(previous, before), kind, replicas)

    def _pin_mask(self, stage: int, rows: slice, starts: slice) -> BoolArray | None:
        if not self.problem.request.pins:
            return None
        off_pin = self.cuts.off_pin(stage)
        mask: BoolArray = off_pin[rows, None] != off_pin[None, starts]
        return mask

    def is_final(self, state: State) -> bool:
        """Whether a plan may end in this state."""
        exact = self.problem.request.exact_num_stages
        return state.num_stages > 0 and (not exact or state.num_stages == self.problem.max_stages)

    def best_by_state(self, total: Total | None = None) -> Reached:
        """Best value of every cut in every state: ``total``, or without one the largest limit of a stage.

        Some ends at once, for all states: what their stages may cost is then worked out once and stays in cache.
        """
        first = State(0, (0,) * len(self.problem.kinds))
        value = {state: np.full(self.cuts.num_cuts, np.inf) for state in self.states}
        value[first][0] = -np.inf if total is None else 0.0
        moves = [(state, [move for move in self.moves(state) if move.before in value]) for state in self.states]
        for low in range(0, self.cuts.num_cuts, _ROWS_AT_ONCE):
            ends = slice(low, min(low + _ROWS_AT_ONCE, self.cuts.num_cuts))
            costs = {
                key: self._stage_costs(ends, *key, total)
                for key in {(move.kind, move.replicas) for _, each in moves for move in each}
            }
            for state, each in moves:
                for move in each:
                    table = self._extended(ends, value[move.before], move, costs[move.kind, move.replicas], total)
                    if table is not None:
                        np.minimum(value[state][ends], table.min(axis=1), out=value[state][ends])
        return Reached(self, value, total)

    def _starts(self, ends: slice) -> slice:
        """The starts that a stage to one of ``ends`` may have: the tables are a band."""
        return slice(int(self.cuts.first_start[ends.start]), ends.stop)

    def _stage_costs(self, ends: slice, kind: int, replicas: int, total: Total | None) -> FloatArray:
        """[end, start]: what a stage on that many devices of the kind counts; infinite where it may not be."""
        limit = self.limit[kind][ends, self._starts(ends)]
        if replicas > 1:
            limit = limit / replicas
        if total is None:
            return limit
        within = limit <= min(total.threshold, np.finfo(np.float64).max)
        return np.where(within, total.cost[kind][ends, self._starts(ends)], np.inf)

    def _extended(
        self, ends: slice, reached: FloatArray, move: Move, costs: FloatArray, total: Total | None
    ) -> FloatArray | None:
        """[end, start]: value of the stages so far and one from start to end; None where no start is reached."""
        starts = self._starts(ends)
        before = reached[starts]
        if np.isinf(before).all() and not (before < 0).any():
            return None
        table = np.maximum(costs, before) if total is None else costs + before
        mask = self._pin_mask(move.before.num_stages, ends, starts)
        if mask is not None:
            table[mask] = np.inf
        return table

    def last_stages(self, end: int, reached: FloatArray, move: Move, total: Total | None) -> FloatArray:
        """Value of ending at ``end`` by one stage from each start that it may have."""
        ends = slice(end, end + 1)
        table = self._extended(ends, reached, move, self._stage_costs(ends, move.kind, move.replicas, total), total)
        return np.full(1, np.inf) if table is None else table[0]


@dataclass(frozen=True, eq=False)
class Reached:
    """What a dynamic programme found: the best value of each cut in each state."""

    solver: Solver
    value: dict[State, FloatArray]
    total: Total | None

    @cached_property
    def final(self) -> State | None:
        """The best state to end in, of equals the one with fewest stages; None when nothing is feasible."""
        finals = [state for state in self.value if self.solver.is_final(state) and self.value[state][-1] < np.inf]
        return min(finals, key=lambda state: (self.value[state][-1], state.num_stages), default=None)

    @property
    def best(self) -> float:
        """The best value of a whole plan, infinite when nothing is feasible."""
        return float("inf") if self.final is None else float(self.value[self.final][-1])

    def steps(self) -> list[Step]:
        """The stages of a best plan, first to last."""
        assert self.final is not None, "steps of an infeasible problem"
        return self.steps_to(self.final)

    def steps_to(self, state: State) -> list[Step]:
        """The stages of a best plan that ends in ``state``."""
        steps: list[Step] = []
        end = self.solver.cuts.num_cuts - 1
        while end > 0:
            move, start = self._best_move(state, end)
            steps.append(Step(end, move.kind, move.replicas))
            state, end = move.before, start
        return steps[::-1]

    def _best_move(self, state: State, end: int) -> tuple[Move, int]:
        """A last stage of a best plan that ends in ``state``, and its start."""
        first_start = int(self.solver.cuts.first_start[end])
        for move in self.solver.moves(state):
            if move.before in self.value:
                values = self.solver.last_stages(end, self.value[move.before], move, self.total)
                start = int(values.argmin())
                if values[start] <= self.value[state][end]:
                    return move, start + first_start
        raise AssertionError("the programme's value has no origin")
