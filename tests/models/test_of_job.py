"""Item 0 is the example that came with the model; the others are drawn."""

from __future__ import annotations

import torch
from torch import nn

from partkit.models.of_job import item_inputs
from partkit.models.sources import load_model, parse_model


def padded() -> tuple[nn.Module, tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    mask = torch.tensor([[False, False, True], [False, True, True]])
    return layer, (torch.randn(2, 3, 8),), {"src_key_padding_mask": mask}


def test_the_first_item_is_the_example_and_the_others_are_drawn() -> None:
    loaded = load_model(parse_model("py:tests.models.test_of_job:padded"))
    first, again, other = (item_inputs(loaded.spec, item, 4, loaded) for item in (0, 4, 1))
    assert torch.equal(first[0], loaded.args[0])
    assert first[1].tolist() == [[False, False, True], [False, True, True]]
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])


def test_an_example_of_another_size_is_no_item() -> None:
    loaded = load_model(parse_model("py:tests.models.test_of_job:padded"))
    smaller = loaded.spec.model_copy(
        update={"inputs": tuple(each.model_copy(update={"shape": (1, *each.shape[1:])}) for each in loaded.spec.inputs)}
    )
    assert [tuple(tensor.shape) for tensor in item_inputs(smaller, 0, 4, loaded)] == [(1, 3, 8), (1, 3)]
