"""What draws random numbers each time is named with its line; what could and does not is not."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from partkit.models.capture import random_draws
from tests.awkward_models import Function, Made, matrix
from tests.planned import captured_model

HERE = "py:tests.models.capture.test_randomness"


def always_dropout() -> Made:
    return Function(lambda layer, x: F.dropout(layer(x), 0.5, training=True)), (matrix(),), {}


def noise() -> Made:
    return Function(lambda layer, x: layer(x) + torch.randn(4, 6) * torch.rand_like(x)), (matrix(),), {}


def coin() -> Made:
    return Function(lambda layer, x: layer(x) * torch.bernoulli(x.sigmoid())), (matrix(),), {}


def sample() -> Made:
    return Function(lambda layer, x: torch.multinomial(layer(x).softmax(-1), 2)), (matrix(),), {}


def attention_dropout() -> Made:
    def body(layer, x):
        heads = layer(x).view(1, 1, 4, 6)
        return F.scaled_dot_product_attention(heads, heads, heads, dropout_p=0.1)

    return Function(body), (matrix(),), {}


class Calm(nn.Module):
    """Everything that could draw, and in eval mode does not."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.drop, self.leaky = nn.LSTM(6, 6, 2, dropout=0.5), nn.Dropout(0.5), nn.RReLU()

    def forward(self, x):
        heads = self.drop(self.leaky(x)).view(1, 1, 4, 6)
        return self.cells(F.scaled_dot_product_attention(heads, heads, heads)[0])[0]


def calm() -> Made:
    return Calm(), (matrix(),), {}


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("always_dropout", "aten.dropout.default"),
        ("noise", "aten.randn.default"),
        ("coin", "aten.bernoulli.default"),
        ("sample", "aten.multinomial.default"),
        ("attention_dropout", "aten.scaled_dot_product_attention.default"),
    ],
)
def test_an_operation_that_draws_is_named_with_the_models_line(name: str, operation: str) -> None:
    told = random_draws(captured_model(f"{HERE}:{name}"))
    assert told is not None
    more = r" and 1 more" if name == "noise" else ""
    line = r"at .*awkward_models\.py:\d+ in forward \(return self\.body\(.*\)"
    pattern = rf"the model draws random numbers \({re.escape(operation)} {line}{more}\): no two runs agree"
    assert re.fullmatch(pattern, told), told


def test_what_draws_only_in_training_is_not_named() -> None:
    assert random_draws(captured_model(f"{HERE}:calm")) is None
    assert random_draws(captured_model("bert-tiny")) is None
