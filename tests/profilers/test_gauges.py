from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import fx

from partkit.data.gauges import Gauge, Gauges
from partkit.profilers.gauges import Operations, _call_of, time_gauges

aten = torch.ops.aten
CPU = torch.device("cpu")
X = torch.randn(2, 8, 4)


def _nodes(count: int) -> list[fx.Node]:
    graph = fx.Graph()
    return [graph.placeholder(f"n{index}") for index in range(count)]


CALLS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {
    "linear": (aten.linear.default, (X, torch.randn(16, 4), torch.randn(16)), {}),
    "half": (aten.mul.Tensor, (X.to(torch.bfloat16), X.to(torch.float16)), {}),
    "convolution": (
        aten.conv2d.default,
        (
            torch.randn(1, 3, 8, 8).to(memory_format=torch.channels_last),
            torch.randn(4, 3, 3, 3),
            None,
            [2, 2],
            [1, 1],
        ),
        {},
    ),
    "attention": (
        aten.scaled_dot_product_attention.default,
        (X, X, X),
        {"attn_mask": torch.ones(8, 8, dtype=torch.bool), "dropout_p": 0.0},
    ),
    "embedding": (aten.embedding.default, (torch.randn(500, 4), torch.randint(0, 500, (3, 200))), {}),
    "list of tensors": (aten.cat.default, ([X, X.transpose(0, 1).contiguous().transpose(0, 1)], 1), {}),
    "expanded": (aten.add.Tensor, (torch.randn(1, 1, 4).expand(2, 8, 4), X), {"alpha": 2}),
    "dtype": (aten._to_copy.default, (X,), {"dtype": torch.float64, "memory_format": torch.contiguous_format}),
    "complex": (aten.mul.Tensor, (torch.polar(X.abs(), X), torch.polar(X.abs(), X)), {}),
    "few integers": (aten.repeat_interleave.self_Tensor, (torch.randn(3, 2), torch.tensor([2, 0, 1])), {"dim": 0}),
    "no elements": (aten.add.Tensor, (torch.randn(0, 3), torch.randn(0, 3)), {}),
    "device": (aten.ones_like.default, (X,), {"device": CPU, "dtype": torch.int64, "layout": torch.strided}),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_operation_told_as_json_is_made_again_in_the_same_form(name: str) -> None:
    function, args, kwargs = CALLS[name]
    operations = Operations()
    operations.meet(_nodes(1)[0], functools.partial(function, *args, **kwargs))
    (gauge,) = operations.gauges({"n0": 1e-4}, CPU)
    kept = Gauges(gauges=(gauge,))
    (again,) = Gauges.from_data(json.loads(kept.to_json()), where="there").gauges
    assert again.nodes == ("n0",)
    ours, theirs = _call_of(again, CPU)(), function(*args, **kwargs)
    assert (ours.shape, ours.stride(), ours.dtype, ours.device) == (
        theirs.shape,
        theirs.stride(),
        theirs.dtype,
        theirs.device,
    )
    (seconds,) = time_gauges([again], CPU)
    assert seconds is not None
    assert seconds > 0


def test_gauges_are_the_heaviest_distinct_operations_until_most_of_the_time_is_in_them() -> None:
    nodes, operations = _nodes(5), Operations()
    wide, narrow = torch.randn(64, 4), torch.randn(8, 4)
    for node, weight in zip(nodes, (wide, narrow, wide, narrow, narrow), strict=True):
        operations.meet(node, functools.partial(aten.linear.default, X, weight))
    seconds = dict(zip(("n0", "n1", "n2", "n3", "n4"), (3e-3, 1e-4, 3e-3, 1e-4, 1e-4), strict=True))
    (gauge,) = operations.gauges(seconds, CPU)
    assert (gauge.operation, gauge.nodes, gauge.args[1]["tensor"]["shape"]) == (
        "aten.linear.default",
        ("n0", "n2"),
        [64, 4],
    )
    both = operations.gauges(dict.fromkeys(seconds, 1e-4), CPU)
    assert [each.nodes for each in both] == [("n1", "n3", "n4"), ("n0", "n2")]


def test_what_cannot_be_told_is_no_gauge() -> None:
    operations, (node,) = Operations(), _nodes(1)
    operations.meet(node, functools.partial(aten.add_.Tensor, X, X))  # writes
    operations.meet(node, functools.partial(aten.add.Tensor, X.to_sparse(), X.to_sparse()))
    operations.meet(node, functools.partial(aten.clamp.default, X, -float("inf"), 0.0))
    operations.meet(node, functools.partial(aten.zeros.default, [3]))  # takes no tensor
    operations.meet(node, functools.partial(torch.add, X, X))  # not an operation of the dispatcher
    assert operations.gauges({"n0": 1.0}, CPU) == ()


@pytest.mark.parametrize(
    ("operation", "args", "fault"),
    [
        ("prims.add.default", ({"tensor": {}},), "String should match pattern '^aten\\.\\w+\\.\\w+$'"),
        ("aten.from_file.default", ("/etc/passwd", True, 9), "Value error, aten.from_file.default takes no tensor"),
    ],
)
def test_a_kept_gauge_can_only_compute(operation: str, args: tuple[Any, ...], fault: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Gauge(nodes=("a",), operation=operation, args=args)
    assert [each["msg"] for each in caught.value.errors()] == [fault]
