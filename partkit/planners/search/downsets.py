"""Enumeration of the downsets of a graph: sets of blocks that hold whatever their members depend on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from partkit.planners.costs.graph import BoolArray, FloatArray
from partkit.planners.problem.blocks import Blocks

_MAX_REACHING = 4_000
"""Blocks up to which it is worked out which depends on which."""


def enumerate_downsets(blocks: Blocks, limit: int) -> BoolArray | None:
    """All downsets as rows of block membership (see :func:`as_rows`); None when more than ``limit``.

    Where there are model inputs, only downsets with them (and the empty one): inputs are on stage 0.
    O(downsets x width x degree).
    """
    everything = (1 << blocks.num_blocks) - 1
    found = downsets_between(blocks, 1 if blocks.has_input else 0, everything, limit)
    return None if found is None else as_rows(blocks, found | {0})


def downsets_of_work(blocks: Blocks, windows: Sequence[tuple[float, float]], limit: int) -> BoolArray | None:
    """Downsets whose work may lie in one of ``windows`` (seconds, ends included), as rows; None past ``limit``.

    A block that so much depends on that a downset without it has too little work is in all of a window's downsets;
    one that depends on too much is in none. The empty downset and the full one are always among the rows.
    """
    if blocks.num_blocks > _MAX_REACHING:
        return enumerate_downsets(blocks, limit)
    without_s, with_s = _extreme_work(blocks)
    found = {0, (1 << blocks.num_blocks) - 1}
    for low_s, high_s in windows:
        inner, outer = _mask(without_s < low_s), _mask(with_s <= high_s)
        if blocks.has_input:
            inner |= 1
        if inner & ~outer:
            continue
        some = downsets_between(blocks, inner, outer, limit)
        if some is None or len(found | some) > limit:
            return None
        found |= some
    return as_rows(blocks, found)


def downsets_between(blocks: Blocks, inner: int, outer: int, limit: int) -> set[int] | None:
    """Downsets, as bit masks, that hold ``inner`` (a downset) and lie in ``outer``; None past ``limit``."""
    waits_for = blocks.predecessor_masks
    room = outer & ~inner
    ready = [block for block in range(blocks.num_blocks) if room >> block & 1 and not waits_for[block] & ~inner]
    seen = {inner}
    frontier = [(inner, ready)]
    while frontier:
        downset, ready = frontier.pop()
        for block in ready:
            larger = downset | (1 << block)
            if larger not in seen:
                seen.add(larger)
                opened = [
                    other for other in blocks.successors[block] if room >> other & 1 and not waits_for[other] & ~larger
                ]
                frontier.append((larger, [other for other in ready if other != block] + opened))
        if len(seen) > limit:
            return None
    return seen


def work_of(members: BoolArray, time_s: FloatArray) -> FloatArray:
    """Seconds of the blocks of each row. Some rows at once: a product makes floats of them."""
    work_s: FloatArray = np.concatenate([rows @ time_s for rows in np.array_split(members, len(members) // 256 + 1)])
    return work_s


def as_rows(blocks: Blocks, downsets: set[int]) -> BoolArray:
    """Bit masks as rows of block membership, by rising work, then size: each after those that it holds."""
    num_bytes = (blocks.num_blocks + 7) // 8
    raw = b"".join(downset.to_bytes(num_bytes, "little") for downset in downsets)
    packed = np.frombuffer(raw, dtype=np.uint8).reshape(len(downsets), num_bytes)
    members = np.unpackbits(packed, axis=1, bitorder="little")[:, : blocks.num_blocks].astype(bool)
    work = work_of(members, _whole_work(blocks))
    rows: BoolArray = members[np.lexsort((members.sum(axis=1), work))]
    return rows


def _whole_work(blocks: Blocks) -> FloatArray:
    """The blocks' times as whole numbers, whose sums are exact: a downset never sorts before one that it holds."""
    total_s = float(blocks.time_s.sum())
    whole: FloatArray = np.floor(blocks.time_s * (2.0**40 / total_s)) if total_s > 0 else np.zeros(blocks.num_blocks)
    return whole


def _extreme_work(blocks: Blocks) -> tuple[FloatArray, FloatArray]:
    """For each block the most work of a downset without it, and the least of one with it."""
    reaches = np.eye(blocks.num_blocks, dtype=bool)
    for block in range(blocks.num_blocks - 1, -1, -1):
        for target in blocks.successors[block]:
            reaches[block] |= reaches[target]
    after_s, before_s = work_of(reaches, blocks.time_s), work_of(reaches.T, blocks.time_s)
    return float(blocks.time_s.sum()) - after_s, before_s


def _mask(chosen: BoolArray) -> int:
    """Blocks as a bit mask."""
    return int.from_bytes(np.packbits(chosen, bitorder="little").tobytes(), "little")
