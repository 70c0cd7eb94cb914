import torch

from partkit.stages.cut import ValueSpec
from partkit.transport.buffers import ALIGNMENT, SlotBuffer, pack


def test_values_of_an_edge_lie_aligned_in_one_buffer() -> None:
    assert pack([1, ALIGNMENT + 1, 0]) == ([0, ALIGNMENT, 3 * ALIGNMENT], 3 * ALIGNMENT)


def test_a_slot_gives_typed_tensors_over_its_bytes_in_the_values_own_memory_order() -> None:
    values = [
        ValueSpec("mask", (3,), torch.bool, (1,)),
        ValueSpec("hidden", (2, 3), torch.float32, (1, 2)),
        ValueSpec("scalar", (), torch.int64, ()),
    ]
    slot = SlotBuffer(values, torch.device("cpu"))
    source = torch.arange(6.0).reshape(3, 2).T
    for tensor, value in zip(slot.tensors, [torch.tensor([True, False, True]), source, torch.tensor(7)], strict=True):
        tensor.copy_(value)
    assert [tensor.stride() for tensor in slot.tensors] == [(1,), (1, 2), ()]
    assert slot.bytes[ALIGNMENT : ALIGNMENT + 24].view(torch.float32).tolist() == [0, 1, 2, 3, 4, 5]
    assert slot.tensors[2].item() == 7
