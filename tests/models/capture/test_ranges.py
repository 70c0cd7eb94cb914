"""Indices are drawn from within the tables that they index."""

from __future__ import annotations

import torch
from torch import nn

from partkit.data.model import InputSpec
from partkit.models.capture import capture
from partkit.models.inputs import synthetic_tensor
from partkit.models.sources import load_model, parse_model
from partkit.models.sources.loaded import LoadedModel
from partkit.models.weights import ModuleWeights, named_tensors


class Tables(nn.Module):
    """Indices used as they are, shifted in shape, by two tables, by name of a dimension, and as a number."""

    def __init__(self) -> None:
        super().__init__()
        self.large, self.small = nn.Embedding(50, 4), nn.Embedding(7, 4)

    def forward(self, ids: torch.Tensor, kinds: torch.Tensor, rows: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
        picked = self.large(ids) + self.small(ids.reshape(-1).view(ids.shape).to(torch.int32))
        return picked.sum() + self.large(kinds[:, :2]).sum() + self.small.weight[rows].sum() + number.sum()


def _tables(*ranges: tuple[int, int] | None) -> LoadedModel:
    module = Tables().eval()
    names = ("ids", "kinds", "rows", "number")
    specs = tuple(
        InputSpec(name=name, shape=(2, 3), dtype="int64", range=span) for name, span in zip(names, ranges, strict=True)
    )
    spec = parse_model("py:tests.none:none").model_copy(update={"inputs": specs})
    args = tuple(torch.zeros(2, 3, dtype=torch.int64) for _ in names)
    return LoadedModel(spec, module, args, {}, ModuleWeights(dict(named_tensors(module))))


def test_a_range_past_the_end_of_a_table_ends_with_the_table() -> None:
    captured = capture(_tables((0, 60), (55, 60), (0, 1000), (0, 1000)))
    assert [each.range for each in captured.spec.inputs] == [(0, 7), (0, 50), (0, 7), (0, 1000)]


def test_a_range_within_the_tables_stays_as_it_is() -> None:
    captured = capture(_tables((3, 7), None, (-7, 7), None))
    assert [each.range for each in captured.spec.inputs] == [(3, 7), None, (-7, 7), None]


def test_a_plan_whose_range_was_rounded_up_draws_from_the_vocabulary_again() -> None:
    spec = parse_model("bert-tiny")
    (ids,) = spec.inputs
    rounded = spec.model_copy(update={"inputs": (ids.model_copy(update={"range": (0.0, 21130.0)}),)})
    assert load_model(rounded).spec.inputs[0].range == (0.0, 21128)


def test_the_largest_numbers_of_a_dtype_are_drawn_too() -> None:
    full = InputSpec(name="x", shape=(4,), dtype="int64", range=(2**63 - 1, 2**63))
    assert synthetic_tensor(full, 1, 0).tolist() == [2**63 - 1] * 4
    wide = InputSpec(name="x", shape=(4,), dtype="int64", range=(2**62, 2**63))
    assert min(synthetic_tensor(wide, 1, 0).tolist()) >= 2**62
