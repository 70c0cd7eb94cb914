"""As many slots as last 40 ms, bounded by memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from partkit.runs import slot_count
from partkit.runs.slot_count import SlotCounts, choose_slots
from partkit.stages.cut import ValueSpec

MB = 1 << 20


def values(num_bytes: int) -> tuple[ValueSpec, ...]:
    return (ValueSpec("value", (num_bytes,), torch.uint8, (1,)),)


@pytest.mark.parametrize(
    ("period_s", "output_bytes", "asked", "expected"),
    [
        (0.0016, 1024, None, SlotCounts(12 + 25, 38)),  # what passes in 40 ms, beside what the stages hold
        (0.0016, 10 * MB, None, SlotCounts(25, 26)),  # 512 MiB for 25 items and as many outputs lent
        (1e-6, 1024, None, SlotCounts(1024, 1025)),
        (0.0, 1024, None, SlotCounts(12, 13)),  # a plan without a prediction
        (0.0016, 100 * MB, None, SlotCounts(12, 1)),  # never fewer than the stages hold
        (0.0016, 1024, 3, SlotCounts(3, 4)),
    ],
)
def test_slots_hide_hiccups_within_the_memory_there_is(
    monkeypatch: pytest.MonkeyPatch, period_s: float, output_bytes: int, asked: int | None, expected: SlotCounts
) -> None:
    monkeypatch.setattr(slot_count, "_free_bytes", lambda _: 8 * 1024 * MB)
    assert choose_slots(12, period_s, values(1024), values(output_bytes), Path("/dev/shm"), asked) == expected
