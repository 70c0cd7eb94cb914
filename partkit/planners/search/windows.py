"""Where a plan better than a known one may cut: downsets of fitting work and of few enough crossing values.

With T the known period, the stages before a cut do what its downset holds and send what crosses it, those after
it do the rest and receive that:

    work before  ->  | crossing |  ->  work after          3 of 8 devices | the other 5
    before + crossing <= 3 T                               after + crossing <= 5 T
    all work + 2 crossing <= 8 T

Where traffic is overlapped only the bounds on work hold, and one on what the devices of one side can send.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partkit.data.cluster import Link
from partkit.planners.costs.graph import BoolArray, FloatArray, IntArray
from partkit.planners.problem.blocks import Blocks
from partkit.planners.problem.problem import TOLERANCE, Problem

_WORD_BITS = 64

_Words = NDArray[np.uint64]


class Window(NamedTuple):
    """What a downset must keep to, in seconds of a device of speed 1."""

    before_s: float
    """Work inside, and sending it, at most."""
    after_s: float
    """Work outside, and receiving for it, at most."""
    crossing_s: float
    """Transfers of the values that cross, at most."""
    crossing_weight: float
    """Work that a device could do in a second of transfers: 0 where the two overlap."""


def cut_windows(problem: Problem, blocks: Blocks, upper_s: float) -> list[Window]:
    """A window for each number of devices before a cut: a plan of period ``upper_s`` or less cuts in these only."""
    total_s, count = float(blocks.time_s.sum()), problem.num_usable_devices
    if not np.isfinite(upper_s):
        return [Window(np.inf, np.inf, np.inf, 0.0)]
    cluster, slack_s = problem.cluster, total_s * TOLERANCE
    speed = np.r_[0.0, np.cumsum(problem.fastest_speeds)] * upper_s + slack_s
    slowest = 0.0 if cluster.overlap else problem.fastest_speeds[-1]
    windows = []
    for devices in range(1, count):
        crossing_s = min(devices, count - devices) * upper_s + slack_s
        if slowest:
            crossing_s = min(crossing_s, (speed[count] - total_s) / (2 * slowest))
        if cluster.shared_cores is not None:
            spare_s = cluster.shared_cores * upper_s + slack_s - total_s / problem.fastest_speeds[0]
            crossing_s = min(crossing_s, spare_s / 2)
        windows.append(Window(speed[devices], speed[count - devices], crossing_s, slowest))
    return windows


def downsets_within(
    blocks: Blocks,
    link: Link,
    window: Window,
    limit: int,
    *,
    inner: BoolArray | None = None,
    outer: BoolArray | None = None,
) -> BoolArray | None:
    """All downsets in the window, as rows of block membership; None when more than ``limit`` have to be looked at.

    With ``inner`` and ``outer``, two downsets, those alone that hold the one and lie in the other.

    The blocks are decided one after another in topological order, for all downsets at once:

        a          a is in: {a}        b is in: {a, b}, {a}      c, which reads both, is in: {a, b, c}, {a, b}, {a}
        b          a is out: {}        b is out: {b}, {}         (and out: {b}, {})

    Work inside, work outside and the values known to cross only grow, so a downset past a limit of the window is
    dropped at once. O(blocks x downsets).
    """
    if min(window.before_s, window.after_s, window.crossing_s) < 0:
        return np.zeros((0, blocks.num_blocks), dtype=bool)
    always, never = _decided(blocks, window)
    if inner is not None and outer is not None:
        always, never = always | inner, never | ~outer
    if (always & never).any():
        return np.zeros((0, blocks.num_blocks), dtype=bool)
    open_blocks = np.flatnonzero(~always & ~never)
    charges = _Charges.of(blocks, link, open_blocks, always, never)
    found = _Partial.start(blocks, always, never, charges.always_s).within(window)
    for place, block in enumerate(open_blocks.tolist()):
        found = found.decide(place, float(blocks.time_s[block]), charges).within(window)
        if len(found.inside_s) > limit:
            return None
    members = np.repeat(always[None, :], len(found.inside_s), axis=0)
    members[:, open_blocks] = found.bits(len(open_blocks))
    return members


def _decided(blocks: Blocks, window: Window) -> tuple[BoolArray, BoolArray]:
    """Blocks that every downset in the window holds, and those that none does, by the work that depends on them."""
    without_s, with_s = blocks.extreme_work
    total_s = float(blocks.time_s.sum())
    always, never = without_s < total_s - window.after_s, with_s > window.before_s
    if blocks.has_input:
        always[0] = True
    return always, never


@dataclass(frozen=True, eq=False)
class _Charges:
    """Which decisions make a value cross, by the places of the open blocks in their order."""

    always_s: float
    """Transfers that every downset of the window has to pay."""
    if_in_s: FloatArray
    """For each place, the values of that block that someone outside reads whatever is decided."""
    if_out: list[list[tuple[float, list[int]]]]
    """For each place, (seconds, places that must be in): the value crosses if those are in and this one is out."""
    waits_for: list[list[int]]
    """For each place, the places of the open blocks that it reads."""

    @staticmethod
    def of(blocks: Blocks, link: Link, open_blocks: IntArray, always: BoolArray, never: BoolArray) -> _Charges:
        place = np.full(blocks.num_blocks, -1)
        place[open_blocks] = np.arange(len(open_blocks))
        always_s, if_in_s = 0.0, np.zeros(len(open_blocks))
        if_out: list[list[tuple[float, list[int]]]] = [[] for _ in open_blocks]
        for value, readers in blocks.readers.items():
            maker = int(blocks.block_of[value])
            if never[maker]:
                continue
            seconds = link.latency_s + float(blocks.graph.output_bytes[value]) / link.bytes_per_s
            own = [] if always[maker] else [int(place[maker])]
            if any(never[reader] for reader in readers):
                if own:
                    if_in_s[own[0]] += seconds
                else:
                    always_s += seconds
                continue
            places = sorted(int(place[reader]) for reader in readers if place[reader] >= 0)
            for index, reader_place in enumerate(places):  # the first reader that is out pays
                if_out[reader_place].append((seconds, own + places[:index]))
        waits_for = [
            [int(place[source]) for source in blocks.predecessors[block] if place[source] >= 0]
            for block in open_blocks.tolist()
        ]
        return _Charges(always_s, if_in_s, if_out, waits_for)


@dataclass(frozen=True, eq=False)
class _Partial:
    """Downsets of the blocks decided so far: one column of bits for each, with what it costs at least."""

    words: _Words
    inside_s: FloatArray
    outside_s: FloatArray
    crossing_s: FloatArray

    @staticmethod
    def start(blocks: Blocks, always: BoolArray, never: BoolArray, crossing_s: float) -> _Partial:
        num_words = (int((~always & ~never).sum()) + _WORD_BITS - 1) // _WORD_BITS
        inside_s, outside_s = blocks.time_s[always].sum(), blocks.time_s[never].sum()
        words = np.zeros((num_words, 1), dtype=np.uint64)
        return _Partial(words, np.array([inside_s]), np.array([outside_s]), np.array([crossing_s]))

    def decide(self, place: int, time_s: float, charges: _Charges) -> _Partial:
        """Each downset without the block at ``place``, then each with it that holds what the block reads."""
        left_s = self.crossing_s.copy()
        for seconds, needed in charges.if_out[place]:
            left_s += seconds * self._holds(needed)
        ready = np.flatnonzero(self._holds(charges.waits_for[place]))
        taken = self.words[:, ready]
        taken[place // _WORD_BITS] |= np.uint64(1 << (place % _WORD_BITS))
        return _Partial(
            np.concatenate([self.words, taken], axis=1),
            np.r_[self.inside_s, self.inside_s[ready] + time_s],
            np.r_[self.outside_s + time_s, self.outside_s[ready]],
            np.r_[left_s, self.crossing_s[ready] + charges.if_in_s[place]],
        )

    def within(self, window: Window) -> _Partial:
        """Those that keep to the window so far."""
        taken_s = self.crossing_s * window.crossing_weight
        kept = (
            (self.inside_s + taken_s <= window.before_s)
            & (self.outside_s + taken_s <= window.after_s)
            & (self.crossing_s <= window.crossing_s)
        )
        return _Partial(self.words[:, kept], self.inside_s[kept], self.outside_s[kept], self.crossing_s[kept])

    def _holds(self, places: list[int]) -> BoolArray:
        """Which downsets hold the blocks at all of ``places``."""
        holds = np.ones(self.words.shape[1], dtype=bool)
        for word in {place // _WORD_BITS for place in places}:
            mask = np.uint64(sum(1 << (place % _WORD_BITS) for place in places if place // _WORD_BITS == word))
            holds &= (self.words[word] & mask) == mask
        return holds

    def bits(self, count: int) -> BoolArray:
        """One row for each downset: which of the first ``count`` places it holds."""
        num_words, num_rows = self.words.shape
        raw = np.ascontiguousarray(self.words.T).astype("<u8").view(np.uint8).reshape(num_rows, num_words * 8)
        bits: BoolArray = np.unpackbits(raw, axis=1, bitorder="little")[:, :count].astype(bool)
        return bits
