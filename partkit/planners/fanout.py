"""Exact search where a sender pays for each stage that reads a value, so that its cost depends on later cuts.

The programme over pairs of cuts counts each sent value once: a lower bound. Going from the last stage to the
first, all readers of a stage's values are known, so its exact cost is; the programme's values bound what
comes before.
"""

from __future__ import annotations

import numpy as np

from partkit.cost import combine
from partkit.graph import FloatArray, IntArray
from partkit.planners.bottleneck import Reached, Solver, State, Step
from partkit.planners.downset_tables import Users
from partkit.planners.problem import TOLERANCE, Problem

MAX_VISITS = 3_000
"""Partial plans that the search may extend, each by a matrix-vector product."""


def can_search_sends(problem: Problem) -> bool:
    """Whether the search is made for the problem: like devices and links, one device a stage, cores apart."""
    cluster = problem.cluster
    one_kind = len(problem.kinds) == 1 and not cluster.links and cluster.shared_cores is None
    return one_kind and cluster.fanout == "each" and problem.max_replicas == 1


class SendSearch:
    """Branch and bound over cuts, from the last stage to the first."""

    def __init__(self, solver: Solver, reached: Reached, upper_s: float) -> None:
        self._solver, self._reached, self._best_s = solver, reached, upper_s
        self._best: list[Step] | None = None
        self._num_visits = 0
        cuts, link, graph = solver.cuts, solver.problem.best_link, solver.cuts.blocks.graph
        self._users = Users.of_values(cuts.blocks)
        self._made = self._users.is_made(cuts.members).astype(np.float64)
        self._value_s = link.latency_s + graph.output_bytes[self._users.item] / link.bytes_per_s
        self._user = self._users.user.T.astype(np.float64)

    @property
    def is_complete(self) -> bool:
        """Whether all plans below the given period were ruled out or found."""
        return self._num_visits <= MAX_VISITS

    def run(self) -> list[Step] | None:
        """The stages of the best plan below the given period; None when there is none (or none was found)."""
        last = self._solver.cuts.num_cuts - 1
        for state in sorted(self._reached.value, key=lambda state: float(self._reached.value[state][last])):
            if self._solver.is_final(state):
                self._extend(state, last, np.zeros(len(self._value_s)), 0.0, [])
        return self._best

    def _extend(self, state: State, end: int, readers: FloatArray, later_s: float, later: list[Step]) -> None:
        """Try every start of the stage that ends at ``end`` and is number ``state[0]``.

        ``readers`` counts the later stages that read each value; ``later_s`` is the longest of them.
        """
        self._num_visits += 1
        before: State = (state[0] - 1, (state[0] - 1,))
        exact_s = self._exact_periods(end, readers, stage=before[0])
        least_s = np.maximum(np.maximum(exact_s, self._reached.value[before]), later_s)
        for start in self._promising(least_s):
            if not self.is_complete or least_s[start] >= self._best_s * (1 - TOLERANCE):
                return
            steps = [Step(end, 0, 1), *later]
            if start == 0:
                self._best_s, self._best = float(least_s[start]), steps
            else:
                more = readers + self._reads(start, end)
                self._extend(before, start, more, max(later_s, float(exact_s[start])), steps)

    def _promising(self, least_s: FloatArray) -> list[int]:
        below: IntArray = np.flatnonzero(least_s < self._best_s * (1 - TOLERANCE))
        order: list[int] = below[np.argsort(least_s[below], kind="stable")].tolist()
        return order

    def _exact_periods(self, end: int, readers: FloatArray, *, stage: int) -> FloatArray:
        """Period of the stage that ends at ``end``, for each start; infinite where it may not be."""
        cuts, problem = self._solver.cuts, self._solver.problem
        wanted = self._made[end] * readers * self._value_s
        send_s = np.maximum(wanted.sum() - self._made @ wanted, 0.0)
        compute_s = (cuts.work_s[end] - cuts.work_s) / problem.kinds[0].speed
        period_s = combine(compute_s, send_s, cuts.receive_s[end], overlap=problem.cluster.overlap)
        period_s[np.isinf(self._solver.limit[0][end])] = np.inf
        if problem.request.pins:
            off_pin = cuts.off_pin(stage)
            period_s[off_pin != off_pin[end]] = np.inf
        return period_s

    def _reads(self, start: int, end: int) -> FloatArray:
        members = self._solver.cuts.members
        inside = (members[end] & ~members[start]).astype(np.float64)
        reads: FloatArray = ((inside @ self._user) > 0).astype(np.float64)
        return reads
