import torch
from torch import nn

from partkit.executors.whole.dispatch import DeviceMovers, LogicalMovers, MoveOperands, spread_by_bytes


def test_the_next_part_opens_when_a_share_of_the_bytes_is_passed() -> None:
    module = nn.Sequential(*(nn.Linear(4, 4) for _ in range(8)))
    assert list(spread_by_bytes(module, 4).values()) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_operands_move_to_the_highest_part_also_inside_lists() -> None:
    movers = LogicalMovers()
    low, high = torch.ones(2), torch.ones(2)
    movers.note(low, 0)
    movers.note(high, 1)
    with MoveOperands(movers):
        joined = torch.cat([low, high])
        doubled = low * 2
    assert movers.part_of(joined) == 1
    assert movers.part_of(doubled) == 0
    assert movers.part_of(low) == 0


def test_a_move_between_logical_devices_is_a_real_copy() -> None:
    movers = LogicalMovers()
    tensor = torch.ones(2)
    movers.note(tensor, 0)
    moved = movers.move(tensor, 1)
    assert moved.data_ptr() != tensor.data_ptr()
    assert movers.move(moved, 1) is moved


def test_devices_count_in_the_order_in_which_the_parts_come_to_them_whatever_their_indexes() -> None:
    first, second = torch.device("meta"), torch.device("cpu")
    movers = DeviceMovers([first, second, first])
    layers = [nn.Linear(2, 2) for _ in range(3)]
    for part, layer in enumerate(layers):
        movers.place(layer, part)
    assert [layer.weight.device for layer in layers] == [first, second, first]
    assert [movers.part_of(layer.weight) for layer in layers] == [0, 1, 0]
    assert movers.devices == [first, second]
    assert movers.move(layers[1].weight, 1) is layers[1].weight
    assert movers.move(layers[1].weight, 0).device == first
