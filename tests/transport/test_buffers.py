import pytest
import torch

from partkit.stages.cut import ValueSpec
from partkit.transport.buffers import ALIGNMENT, SlotBuffer, copy_alone, pack


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


@pytest.mark.parametrize(
    "source",
    [
        torch.arange(6.0).reshape(2, 3),
        torch.arange(6.0).reshape(3, 2).T,
        torch.tensor([[1 + 2j, 3j, 4.0], [0, 1j, 2]]).conj(),
        torch.tensor([[1 + 2j]]).conj().imag,
        torch.nn.Parameter(torch.ones(2, 3)),
        torch.ones(1, 3).expand(2, 3),
        torch.zeros(0, 3),
        torch.tensor([[True, False, True]]),
        torch.full((2, 3), 1.5, dtype=torch.bfloat16),
    ],
)
@pytest.mark.parametrize("is_turned", [False, True])
def test_a_copy_made_alone_is_that_of_torch(source: torch.Tensor, is_turned: bool) -> None:
    target = torch.zeros(source.shape[::-1], dtype=source.dtype).T if is_turned else torch.zeros_like(source.detach())
    copy_alone(target, source)
    assert torch.equal(target, source.detach())
    assert not target.requires_grad
