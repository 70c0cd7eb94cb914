"""A plan run in thought, item by item: places, slots, links and arrivals as a pipeline has them.

Every place takes its items in order, one at a time. A turn begins when the place is free, its inputs are there and the
slots that it fills have been sent; a value leaves when it is there, the sender's and the receiver's link ends are free
and the receiver's slot has been consumed.

    item i, stage s     begin = max(place free . inputs arrived . out slots free)         compute
    value s -> t        begin = max(computed . s's link free . t's link free . slot free)  latency + bytes / rate

All of one wave (a * item + stage) depends on earlier waves only, so that each wave is a few operations on arrays over
its stages: 100,000 items through 1,024 stages take seconds. An event queue of Python objects (SimPy) takes about 4
microseconds an event, and there would be 4e8 of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from partkit.data.cluster import Cluster
from partkit.data.plan import Plan
from partkit.data.timeline import CAUSES, Cause, Event
from partkit.errors import UsageError
from partkit.planners.costs.graph import FloatArray, IntArray


@dataclass
class Simulated:
    """What came of it. Seconds count from the first item's arrival."""

    finished_s: FloatArray
    """When each item's last output was there."""
    latencies_s: FloatArray
    busy: FloatArray
    """Share of the time that a stage computed, its replicas taken together."""
    waits: FloatArray
    """The same of waiting, a row for each of ``CAUSES``."""
    events: list[Event] = field(default_factory=list)
    """Of the first items only."""


@dataclass(frozen=True)
class _Edges:
    """What one stage sends another for an item, in order of senders."""

    source: IntArray
    target: IntArray
    seconds: FloatArray
    """Until the value has arrived."""
    held_s: FloatArray
    """For which it keeps both link ends busy: latency is not among them."""


def simulate(
    plan: Plan,
    *,
    cluster: Cluster | None = None,
    num_items: int = 1000,
    rate_per_s: float | None = None,
    num_slots: int | None = None,
    jitter: float = 0.0,
    seed: int = 0,
    num_traced: int = 0,
) -> Simulated:
    """Run ``num_items`` items through a plan's stages.

    ``rate_per_s``: they arrive at random (Poisson) at this rate; None: all are there. ``cluster`` replaces the plan's
    own: links priced again, compute by its devices' speeds. ``jitter``: standard deviation of a stage's time for an
    item, as a share of its mean (log-normal). The first ``num_traced`` items leave events. Raises :class:`UsageError`
    for a plan whose stages send back and for a cluster with too few devices. O(items x stages).
    """
    if any(send.to < stage.index for stage in plan.stages for send in stage.sends):
        raise UsageError(
            "the plan's stages send back and forth, which no executor runs", hint="plan without --non-contiguous"
        )
    compute_s, edges = _priced(plan, cluster)
    overlap = (cluster or plan.cluster).overlap
    slots = num_slots or plan.constraints.num_slots
    run = _Run(plan, compute_s, edges, overlap=overlap, num_slots=slots, num_items=num_items, num_traced=num_traced)
    generator = np.random.default_rng(seed)
    arrivals = np.zeros(num_items)
    if rate_per_s is not None:
        arrivals = np.cumsum(generator.exponential(1.0 / rate_per_s, num_items))
        arrivals -= arrivals[0]
    run.through(arrivals, jitter, generator)
    return run.outcome(arrivals)


def _priced(plan: Plan, cluster: Cluster | None) -> tuple[FloatArray, _Edges]:
    """Compute seconds by stage, and what is sent, on a cluster."""
    chosen = cluster or plan.cluster
    needed = 1 + max(device for stage in plan.stages for device in stage.devices)
    if needed > len(chosen.devices):
        raise UsageError(
            f"the plan is for {needed} devices, and cluster {chosen.name!r} has {len(chosen.devices)}",
            hint=f"name one with more, as '--cluster {chosen.name}:{needed}'",
        )

    def speed(of: Cluster, devices: Sequence[int]) -> float:
        return min(of.devices[device].speed for device in devices)

    compute = [
        stage.compute_s * speed(plan.cluster, stage.devices) / speed(chosen, stage.devices) for stage in plan.stages
    ]
    rows = []
    for stage in plan.stages:
        for send in stage.sends:
            links = [chosen.link_between(a, b) for a in stage.devices for b in plan.stages[send.to].devices]
            latency_s = max(link.latency_s for link in links) * len(send.values)
            held_s = send.bytes * max(1.0 / link.bytes_per_s for link in links)
            rows.append((stage.index, send.to, latency_s + held_s, held_s))
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    source, target = (np.array(column, dtype=np.int64) for column in columns[:2])
    seconds, held = (np.array(column, dtype=float) for column in columns[2:])
    compute_s = np.array(compute)
    if chosen.shared_cores is not None:  # devices that share cores are slowed alike once there are too few
        compute_s *= _slowdown(plan, compute_s, seconds, chosen.shared_cores)
    return compute_s, _Edges(source, target, seconds, held)


def _slowdown(plan: Plan, compute_s: FloatArray, sent_s: FloatArray, cores: float) -> float:
    """How much longer stages take where the work of all at the bottleneck's pace is more than the cores do."""
    replicas = np.array([len(stage.devices) for stage in plan.stages])
    period_s = float((compute_s / replicas).max(initial=0.0))
    needed_s = (float(compute_s.sum()) + 2 * float(sent_s.sum())) / cores
    return max(1.0, needed_s / period_s) if period_s > 0 else 1.0


class _Run:
    """Times of the last items at every stage and edge, in rings; see the module's drawing.

    A ring holds one item more than lie between a slot's two items, so that a place not yet written is 0: before the
    first item everything is free.
    """

    def __init__(
        self,
        plan: Plan,
        compute_s: FloatArray,
        edges: _Edges,
        *,
        overlap: bool,
        num_slots: int,
        num_items: int,
        num_traced: int,
    ) -> None:
        stages, num_edges = len(plan.stages), len(edges.source)
        self._compute_s, self._edges, self._overlap = compute_s, edges, overlap
        self._num_stages, self._num_items, self._num_traced = stages, num_items, num_traced
        self._replicas = np.array([len(stage.devices) for stage in plan.stages])
        most = int(self._replicas.max())
        self._ring = ring = 1 + num_slots * most
        span = int((edges.target - edges.source).max(initial=1))
        self._stride = span // (num_slots * int(self._replicas.min())) + 1
        """Waves between items: so many that the slot's former item is done in an earlier wave, however far a value
        skips."""
        self._lag = num_slots * self._replicas
        """Items between a slot's two."""
        self._row = np.arange(stages) * ring
        self._ended, self._free = np.zeros(stages * ring), np.zeros(stages * ring)
        """When a stage was done with an item, and when its place could take another; by stage and item."""
        self._arrived = np.zeros((num_edges + 1) * ring)
        """When a value was there, by edge and item; the last row is of no edge."""
        self._most = most
        self._out_free, self._in_free = np.zeros(stages * most), np.zeros(stages * most)
        """When a place's link ends are free."""
        self._into, self._out_of = _padded(edges.target, stages), _padded(edges.source, stages)
        self._received_s = np.append(edges.seconds, 0.0)[self._into].sum(axis=1)
        self._entries = np.setdiff1d(np.arange(stages), edges.target).tolist()
        self._exits = np.setdiff1d(np.arange(stages), edges.source).tolist()
        self._finished = np.zeros(num_items)
        self._begun = np.full(num_items, math.inf)
        self._waited, self._busy = np.zeros((len(CAUSES), stages)), np.zeros(stages)
        self.events: list[Event] = []

    def through(self, arrivals: FloatArray, jitter: float, generator: np.random.Generator) -> None:
        """All waves."""
        stride, sigma = self._stride, math.sqrt(math.log1p(jitter**2))
        numbers = np.arange(self._num_stages)
        for wave in range(stride * (self._num_items - 1) + self._num_stages):
            first = max(wave - stride * (self._num_items - 1), wave % stride)  # its stages: every stride-th
            some = slice(first, min(wave, self._num_stages - 1) + 1, stride)
            stage = numbers[some]
            if not len(stage):
                continue
            item = (wave - stage) // stride
            seconds = self._compute_s[some]
            if jitter:
                seconds = seconds * generator.lognormal(-(sigma**2) / 2, sigma, len(stage))
            self._compute(some, stage, item, seconds, arrivals)
            self._send(some, stage, item)

    def outcome(self, arrivals: FloatArray) -> Simulated:
        """What came of it."""
        end = float(self._finished.max())
        share = 1.0 / (end * self._replicas) if end > 0 else np.zeros(self._num_stages)
        since = arrivals if arrivals.any() else self._begun
        return Simulated(self._finished, self._finished - since, self._busy * share, self._waited * share, self.events)

    def _compute(self, some: slice, stage: IntArray, item: IntArray, seconds: FloatArray, arrivals: FloatArray) -> None:
        ring, row = self._ring, self._row[some]
        place = item % ring
        free = self._free[row + (item - self._replicas[some]) % ring]
        inputs = self._latest(self._into[some], place)
        for entry in self._within(some, self._entries):
            inputs[entry] = max(inputs[entry], arrivals[item[entry]])
        slots = self._latest(self._out_of[some], (item - self._lag[some]) % ring)
        begin = np.maximum(np.maximum(free, inputs), slots)
        waited = begin - free
        for_slot = np.where(slots > inputs, waited, 0.0)
        self._waited[0, some] += waited - for_slot
        self._waited[1, some] += for_slot
        end = begin + seconds
        if not self._overlap:  # what it receives, it receives itself
            end += self._received_s[some]
            self._waited[0, some] += self._received_s[some]
        self._ended[row + place] = end
        self._free[row + place] = end
        self._busy[some] += seconds
        for entry in self._within(some, self._entries):
            self._begun[item[entry]] = min(self._begun[item[entry]], begin[entry])
        for leaving in self._within(some, self._exits):
            self._finished[item[leaving]] = max(self._finished[item[leaving]], end[leaving])
        for index in np.flatnonzero(item < self._num_traced) if item[-1] < self._num_traced else ():
            began, ended = float(end[index] - seconds[index]), float(end[index])
            waits = float(free[index]), bool(for_slot[index])
            self._note_turn(int(stage[index]), int(item[index]), *waits, began, ended)

    def _note_turn(self, stage: int, item: int, free: float, is_slot: bool, began: float, ended: float) -> None:
        replica = item % int(self._replicas[stage])
        if began > free:
            cause: Cause = "slot" if is_slot else "input"
            self.events.append(
                Event(stage=stage, replica=replica, track="idle", item=item, begin_s=free, end_s=began, cause=cause)
            )
        self.events.append(Event(stage=stage, replica=replica, track="compute", item=item, begin_s=began, end_s=ended))

    def _send(self, some: slice, stage: IntArray, item: IntArray) -> None:
        """Each stage's values one after the other: the k-th of every stage at once."""
        ring, num_edges, ended = self._ring, len(self._edges.source), self._ended
        for column in range(self._out_of.shape[1]):
            edge, source, number = self._out_of[some, column], stage, item
            is_one = edge < num_edges
            if not is_one.all():
                edge, source, number = edge[is_one], source[is_one], number[is_one]
            if not len(edge):
                return
            target, own = self._edges.target[edge], self._row[source] + number % ring
            sender = source * self._most + number % self._replicas[source]
            receiver = target * self._most + number % self._replicas[target]
            consumed = ended[self._row[target] + (number - self._lag[target]) % ring]
            there = ended[own] if self._overlap else self._free[own]
            link_free = np.maximum(self._out_free[sender], self._in_free[receiver])
            begin = np.maximum(np.maximum(there, consumed), link_free)
            end = begin + self._edges.seconds[edge]
            self._arrived[edge * ring + number % ring] = end
            # One that waits for its slot lets others pass: it takes the links for as long as it moves.
            held_s = self._edges.held_s[edge]
            self._out_free[sender] = np.maximum(self._out_free[sender], there) + held_s
            np.maximum.at(self._in_free, receiver, np.maximum(self._in_free[receiver], there) + held_s)
            if not self._overlap:
                self._waited[2, source] += end - self._free[own]
                self._free[own] = end
            for index in np.flatnonzero(number < self._num_traced) if number[-1] < self._num_traced else ():
                self.events.append(
                    Event(
                        stage=int(source[index]),
                        replica=int(number[index] % self._replicas[source[index]]),
                        track="send",
                        item=int(number[index]),
                        begin_s=float(begin[index]),
                        end_s=float(end[index]),
                        to=int(target[index]),
                    )
                )

    def _latest(self, edges: IntArray, place: IntArray) -> FloatArray:
        """When the last of each row's values of an item arrived."""
        if edges.shape[1] == 1:
            found: FloatArray = self._arrived[edges[:, 0] * self._ring + place]
        else:
            found = self._arrived[edges * self._ring + place[:, None]].max(axis=1)
        return found

    def _within(self, some: slice, stages: Sequence[int]) -> list[int]:
        """Positions of the stages that are in a wave."""
        start, stop, stride = some.start, some.stop, some.step
        return [(stage - start) // stride for stage in stages if start <= stage < stop and not (stage - start) % stride]


def _padded(stage_of_edge: IntArray, num_stages: int) -> IntArray:
    """The edges of each stage, in a row each, filled up with the number of all edges."""
    none = len(stage_of_edge)
    rows = [np.flatnonzero(stage_of_edge == stage) for stage in range(num_stages)]
    width = max([len(row) for row in rows] + [1])
    return np.array([[*row, *[none] * (width - len(row))] for row in rows], dtype=np.int64).reshape(num_stages, width)
