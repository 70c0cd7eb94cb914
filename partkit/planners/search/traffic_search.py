"""Exact search where what a stage sends and receives depends on more than the two cuts around it.

That is so where a sender pays for each stage that reads a value, and where links differ. The programme over pairs
of cuts counts each value once, over the best link: a lower bound. Going from the last stage to the first, the
devices of all readers of a stage's values are known, and with them its exact cost; a reader's cost is known as far
as its senders are placed. The programme's values bound what comes before.

        not placed yet        | to place |  later stages, first to last
    0 . . . . . . . . . . start . . . . end . . . . . . . . . . everything
      bounded by the programme   exact       exact but for what they receive from before ``start``
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from partkit.planners.costs.cost import combine
from partkit.planners.costs.graph import BoolArray, FloatArray, IntArray
from partkit.planners.problem.problem import TOLERANCE, Problem
from partkit.planners.search.bottleneck import Move, Reached, Solver, State, Step
from partkit.planners.search.downset_tables import Users

MAX_VISITS = 3_000
"""Partial plans that the search may extend."""
MAX_WORK = 2_000_000_000
"""Products of numbers that it may take: about two seconds."""
QUICK_WORK = 200_000_000
"""The same where nothing would be proved by it."""


def needs_search(problem: Problem) -> bool:
    """Whether the programme's traffic is only a bound, and the search is made: one device a stage, cores apart."""
    cluster = problem.cluster
    is_inexact = cluster.fanout == "each" or bool(cluster.links)
    return is_inexact and cluster.shared_cores is None and problem.max_replicas == 1


@dataclass(frozen=True, eq=False)
class _Placed:
    """A stage whose end, start and device are chosen."""

    device: int
    compute_s: float
    send_s: float
    received_s: float
    """Seconds of receiving from stages that are placed."""
    reads: BoolArray
    """Values that it reads from earlier stages."""


@dataclass(frozen=True, eq=False)
class Extension:
    """One more stage before those that are placed: its end, device and costs, for each start that it may have."""

    end: int
    device: int
    compute_s: FloatArray
    """Arrays are by start."""
    send_s: FloatArray
    later_received_s: list[FloatArray]
    """What each later stage receives from the stages placed then."""
    least_s: FloatArray
    """Least period of any plan with this stage; infinite where the stage may not be."""

    def later(self, start: int, placed: list[_Placed]) -> list[_Placed]:
        """The later stages once this one starts at ``start``."""
        return [
            replace(stage, received_s=float(received_s[start]))
            for stage, received_s in zip(placed, self.later_received_s, strict=True)
        ]


class TrafficSearch:
    """Branch and bound over cuts and devices, from the last stage to the first."""

    def __init__(self, solver: Solver, reached: Reached, upper_s: float, max_work: int = MAX_WORK) -> None:
        self._max_work = max_work
        self._solver, self._reached, self._best_s = solver, reached, upper_s
        self._problem, self._cuts = solver.problem, solver.cuts
        self._best: list[Step] | None = None
        self._num_visits = self._work = 0
        self._users = Users.of_values(self._cuts.blocks)
        self._made = self._users.is_made(self._cuts.members).astype(np.float64)
        self._bytes = self._cuts.blocks.graph.output_bytes[self._users.item]
        link = self._problem.best_link
        self._least_s = link.latency_s + self._bytes / link.bytes_per_s
        self._user = self._users.user.T.astype(np.float64)

    @property
    def is_complete(self) -> bool:
        """Whether all plans below the given period were ruled out or found."""
        return self._has_budget and self._solver.is_exhaustive

    @property
    def _has_budget(self) -> bool:
        return self._num_visits <= MAX_VISITS and self._work <= self._max_work

    def run(self) -> list[Step] | None:
        """The stages of the best plan below the given period; None when there is none (or none was found)."""
        last = self._cuts.num_cuts - 1
        for state in sorted(self._reached.value, key=lambda state: float(self._reached.value[state][last])):
            if self._solver.is_final(state):
                self._extend(state, last, [], [])
        return self._best

    def _extend(self, state: State, end: int, later: list[_Placed], steps: list[Step]) -> None:
        """Try every device and start of the stage that ends at ``end``, before the stages ``later``."""
        for move in self._solver.moves(state):
            for device in self._candidates(move.kind, later):
                if move.before in self._reached.value and self._has_budget:
                    self._place(move, end, device, later, steps)

    def _candidates(self, kind: int, later: list[_Placed]) -> list[int]:
        """Free devices of a kind; where links are alike they are all the same."""
        used = {stage.device for stage in later}
        free = [device for device in self._problem.kinds[kind].devices if device not in used]
        return free if self._problem.cluster.links else free[:1]

    def _place(self, move: Move, end: int, device: int, later: list[_Placed], steps: list[Step]) -> None:
        """Try every start of a stage on ``device``, the most promising first."""
        self._num_visits += 1
        self._work += self._made.size * (2 + len(later))
        extension = self._extension(move, end, device, later)
        for start in self._promising(extension.least_s):
            least_s = float(extension.least_s[start])
            if not self._has_budget or least_s >= self._best_s * (1 - TOLERANCE):
                return
            found = [Step(extension.end, move.kind, 1, (extension.device,)), *steps]
            if start == 0:
                self._best_s, self._best = least_s, found
            else:
                own = _Placed(
                    device=extension.device,
                    compute_s=float(extension.compute_s[start]),
                    send_s=float(extension.send_s[start]),
                    received_s=0.0,
                    reads=self._reads(start, end),
                )
                self._extend(move.before, start, [own, *extension.later(start, later)], found)

    def _extension(self, move: Move, end: int, device: int, later: list[_Placed]) -> Extension:
        """The stage that ends at ``end`` on ``device``, with what it and all others cost at least."""
        compute_s = (self._cuts.work_s[end] - self._cuts.work_s) / self._problem.kinds[move.kind].speed
        send_s, receive_s = self._sent(end, device, later), self._cuts.receive_s[end]
        least_s = combine(compute_s, send_s, receive_s, overlap=self._problem.cluster.overlap)
        later_received_s = []
        for stage in later:
            received_s, rest_s = self._received(end, device, stage)
            later_received_s.append(received_s)
            least_s = np.maximum(least_s, self._period(stage, received_s + rest_s))
        least_s = np.maximum(least_s, self._reached.value[move.before])
        least_s[self._is_forbidden(move.kind, end, move.before.num_stages)] = np.inf
        return Extension(end, device, compute_s, send_s, later_received_s, least_s)

    def _sent(self, end: int, device: int, later: list[_Placed]) -> FloatArray:
        """For each start, seconds of sending to the later stages."""
        cost_s = np.zeros(len(self._bytes))
        for stage in later:
            read_s = stage.reads * self._transfer_s(device, stage.device)
            is_each = self._problem.cluster.fanout == "each"
            cost_s = cost_s + read_s if is_each else np.maximum(cost_s, read_s)
        wanted = self._made[end] * cost_s
        sent: FloatArray = np.maximum(wanted.sum() - self._made @ wanted, 0.0)
        return sent

    def _received(self, end: int, device: int, stage: _Placed) -> tuple[FloatArray, FloatArray]:
        """For each start, seconds that a later stage receives from stages placed then, and at least from the rest."""
        wanted = self._made[end] * stage.reads
        from_here = wanted * self._transfer_s(device, stage.device)
        known_s = stage.received_s + np.maximum(from_here.sum() - self._made @ from_here, 0.0)
        return known_s, self._made @ (wanted * self._least_s)

    def _period(self, stage: _Placed, receive_s: FloatArray) -> FloatArray:
        own = np.ones_like(receive_s)
        return combine(stage.compute_s * own, stage.send_s * own, receive_s, overlap=self._problem.cluster.overlap)

    def _transfer_s(self, source: int, target: int) -> FloatArray:
        link = self._problem.cluster.link_between(source, target)
        seconds: FloatArray = link.latency_s + self._bytes / link.bytes_per_s
        return seconds

    def _is_forbidden(self, kind: int, end: int, stage: int) -> BoolArray:
        forbidden: BoolArray = np.isinf(self._solver.limit[kind][end])
        if self._problem.request.pins:
            off_pin = self._cuts.off_pin(stage)
            forbidden = forbidden | (off_pin != off_pin[end])
        return forbidden

    def _promising(self, least_s: FloatArray) -> list[int]:
        below: IntArray = np.flatnonzero(least_s < self._best_s * (1 - TOLERANCE))
        order: list[int] = below[np.argsort(least_s[below], kind="stable")].tolist()
        return order

    def _reads(self, start: int, end: int) -> BoolArray:
        """Values made before ``start`` that a block between the two reads."""
        members = self._cuts.members
        inside = (members[end] & ~members[start]).astype(np.float64)
        reads: BoolArray = ((inside @ self._user) > 0) & (self._made[start] > 0)
        return reads
