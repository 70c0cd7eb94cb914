"""Outputs that a user keeps keep their slots; those that are dropped give them back, views of them included."""

from __future__ import annotations

from pathlib import Path

import torch

from partkit.stages.cut import ValueSpec
from partkit.transport.shared_slots import LentSlots, SharedSlots

VALUES = (
    ValueSpec("logits", (2, 3), torch.float32, (3, 1)),
    ValueSpec("flags", (5,), torch.bool, (1,)),
    ValueSpec("none", (0, 4), torch.float32, (4, 1)),
    ValueSpec("turned", (2, 3), torch.int64, (1, 2)),
)


def test_a_lent_slot_comes_back_when_the_last_view_of_it_is_gone(tmp_path: Path) -> None:
    slots = SharedSlots(tmp_path / "slots", VALUES, 2)
    lent = LentSlots(slots, 1)
    first = lent.claim()
    for name, tensor in slots.tensors(first, VALUES).items():
        tensor.copy_(torch.arange(tensor.numel()).reshape(tensor.shape) + (name == "logits"))
    outputs = lent.lend(first, VALUES)
    assert torch.equal(outputs["logits"], torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    assert torch.equal(outputs["turned"], torch.tensor([[0, 1, 2], [3, 4, 5]]))
    assert (outputs["turned"].stride(), outputs["none"].shape) == ((1, 2), (0, 4))
    assert (lent.has_free, lent.claim(), lent.has_free, lent.is_short) == (True, 1, False, True)
    row = outputs.pop("logits")[1].numpy()
    outputs.clear()
    assert (lent.has_free, lent.is_short) == (False, True), "a view is kept"
    del row
    assert (lent.is_short, lent.has_free, lent.claim()) == (False, True, first)


def test_slots_that_came_back_unnoticed_can_be_claimed(tmp_path: Path) -> None:
    lent = LentSlots(SharedSlots(tmp_path / "slots", VALUES, 2), 1)
    for _ in range(2):
        lent.lend(lent.claim(), VALUES)
    assert sorted([lent.claim(), lent.claim()]) == [0, 1]


def test_what_was_lent_stays_when_everything_else_of_the_memory_is_gone(tmp_path: Path) -> None:
    slots = SharedSlots(tmp_path / "slots", VALUES, 1)
    lent = LentSlots(slots, 1)
    slots.tensors(lent.claim(), VALUES)["logits"].fill_(4.0)
    outputs = lent.lend(0, VALUES)
    slots.close()
    (tmp_path / "slots").unlink()
    del slots, lent
    assert torch.equal(outputs["logits"], torch.full((2, 3), 4.0))
    outputs["logits"].add_(1.0)
    assert float(outputs["logits"].sum()) == 30.0
