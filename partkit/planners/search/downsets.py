"""Enumeration of the downsets of a graph: sets of blocks that hold whatever their members depend on."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from partkit.planners.costs.graph import BoolArray, FloatArray
from partkit.planners.problem.blocks import Blocks


def enumerate_downsets(blocks: Blocks, limit: int) -> BoolArray | None:
    """All downsets as rows of block membership (see :func:`sorted_rows`); None when more than ``limit``.

    Where there are model inputs, only downsets with them (and the empty one): inputs are on stage 0.
    O(downsets x width x degree).
    """
    everything = (1 << blocks.num_blocks) - 1
    found = downsets_between(blocks, 1 if blocks.has_input else 0, everything, limit)
    return None if found is None else as_rows(blocks, found | {0})


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


def as_rows(blocks: Blocks, downsets: Iterable[int]) -> BoolArray:
    """Bit masks as rows of block membership, sorted as by :func:`sorted_rows`."""
    num_bytes = (blocks.num_blocks + 7) // 8
    raw = b"".join(downset.to_bytes(num_bytes, "little") for downset in downsets)
    packed = np.frombuffer(raw, dtype=np.uint8).reshape(-1, num_bytes)
    return sorted_rows(blocks, [np.unpackbits(packed, axis=1, bitorder="little")[:, : blocks.num_blocks].astype(bool)])


def sorted_rows(blocks: Blocks, parts: Iterable[BoolArray]) -> BoolArray:
    """The rows of all parts, each once, by rising work, then size: each downset after those that it holds.

    The empty downset and the full one are always among them.
    """
    ends = np.array([[False], [True]]).repeat(blocks.num_blocks, axis=1)
    packed = np.packbits(np.concatenate([ends, *parts]), axis=1, bitorder="little")
    packed = np.unique(packed.view(f"V{packed.shape[1]}").ravel()).view(np.uint8).reshape(-1, packed.shape[1])
    members = np.unpackbits(packed, axis=1, bitorder="little")[:, : blocks.num_blocks].astype(bool)
    work = work_of(members, _whole_work(blocks))
    rows: BoolArray = members[np.lexsort((members.sum(axis=1), work))]
    return rows


def _whole_work(blocks: Blocks) -> FloatArray:
    """The blocks' times as whole numbers, whose sums are exact: a downset never sorts before one that it holds."""
    total_s = float(blocks.time_s.sum())
    whole: FloatArray = np.floor(blocks.time_s * (2.0**40 / total_s)) if total_s > 0 else np.zeros(blocks.num_blocks)
    return whole
