"""A module's own structure of outputs goes into its archive and comes back, or is told to be lost."""

from __future__ import annotations

import collections
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree
from transformers.cache_utils import DynamicCache
from transformers.modeling_outputs import BaseModelOutput

from partkit.errors import CaptureError
from partkit.models import structures
from partkit.models.archive import archive_module
from partkit.models.sources import load_model
from partkit.models.structures import LostStructure, leaf_paths

X = torch.arange(8.0).view(2, 4)


class Pair(NamedTuple):
    first: torch.Tensor
    second: Any


@dataclass
class Result:
    logits: torch.Tensor
    kind: str = "relu"
    nothing: torch.Tensor | None = None


@dataclass
class Derived:
    logits: torch.Tensor
    total: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.total = self.logits.sum()


class Box:
    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


class Registered(Box):
    pass


pytree.register_pytree_node(Registered, lambda box: ([box.tensor], None), lambda leaves, _: Registered(*leaves))


class Returning(nn.Module):
    def __init__(self, body: Callable[..., Any]) -> None:
        super().__init__()
        self.layer, self.body = nn.Linear(4, 4), body

    def forward(self, x: torch.Tensor, **others: Any) -> Any:
        return self.body(torch.relu(self.layer(x)), x, **others)


def _cache(y: torch.Tensor, x: torch.Tensor) -> DynamicCache:
    cache = DynamicCache()
    cache.update(y[None, None], x[None, None], 0)
    return cache


KEPT: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "texts": (
        lambda y, x: {"y": y, "a": "relu", "n": None, "inf": float("inf"), "b": True},
        ["y", "a", "n", "inf", "b"],
    ),
    "named tuple": (lambda y, x: Pair(y, [x, None]), ["first", "second.0", "second.1"]),
    "dataclass": (lambda y, x: Result(y), ["logits", "kind"]),
    "nested": (
        lambda y, x: collections.OrderedDict(z=Pair(y, Result(x)), a=(y, {1: x})),
        ["z.first", "z.second.logits", "z.second.kind", "a.0", "a.1.1"],
    ),
    "defaultdict": (lambda y, x: collections.defaultdict(list, {"q": [y, x]}), ["q.0", "q.1"]),
    "ModelOutput": (
        lambda y, x: BaseModelOutput(y, hidden_states=(x, y)),
        ["last_hidden_state", "hidden_states.0", "hidden_states.1"],
    ),
    "one tensor": (lambda y, x: y, ["output"]),
}
ONLY_HERE: dict[str, tuple[Callable[..., Any], list[str], str]] = {
    "registered without a name": (
        lambda y, x: (Registered(y), x),
        ["0.0", "1"],
        "tests.models.test_structures.Registered",
    ),
    "sorted": (lambda y, x: torch.sort(y), ["0", "1"], "torch.return_types.sort"),
    "tuple as key": (lambda y, x: {(1, 2): Pair(x, y)}, ["0.first", "0.second"], "tests.models.test_structures.Pair"),
}


def _archived(body: Callable[..., Any], folder: Path, **others: Any) -> tuple[Any, Any]:
    """The module's structure as loaded in this program, and as a later one would load it."""
    spec = archive_module(Returning(body).eval(), (X,), others, folder)
    now = load_model(spec)
    structures._known_by_archive.clear()
    return now, load_model(spec)


def _own(body: Callable[..., Any]) -> pytree.TreeSpec:
    return pytree.tree_structure(body(X, X))


@pytest.mark.parametrize("name", KEPT)
def test_a_structure_is_kept_for_this_program_and_for_later_ones(name: str, tmp_path: Path) -> None:
    body, paths = KEPT[name]
    for loaded in _archived(body, tmp_path):
        assert loaded.lost is None
        output = loaded.materialise()(*loaded.args, **loaded.kwargs)
        assert pytree.tree_structure(output) == _own(body)
        constants = [leaf for leaf in pytree.tree_leaves(output) if not isinstance(leaf, torch.Tensor)]
        assert constants == [leaf for leaf in pytree.tree_leaves(body(X, X)) if not isinstance(leaf, torch.Tensor)]
    assert leaf_paths(_own(body)) == paths


@pytest.mark.parametrize("name", ONLY_HERE)
def test_a_structure_that_cannot_be_written_is_kept_for_this_program_and_told_lost_to_later_ones(
    name: str, tmp_path: Path
) -> None:
    body, paths, classes = ONLY_HERE[name]
    now, later = _archived(body, tmp_path)
    assert now.lost is None
    assert pytree.tree_structure(now.materialise()(X)) == _own(body)
    assert later.lost == LostStructure(classes, tuple(paths))
    assert isinstance(later.materialise()(X), tuple)


def test_a_transformers_cache_is_registered_as_it_is_met(tmp_path: Path) -> None:
    now, _ = _archived(_cache, tmp_path)
    output = now.materialise()(X)
    assert isinstance(output, DynamicCache)
    assert torch.equal(output.layers[0].values, X[None, None])


def test_inputs_may_be_dataclasses_and_named_tuples_that_ranks_do_not_know(tmp_path: Path) -> None:
    _, later = _archived(
        lambda y, x, pair, result: y + pair.first + result.logits, tmp_path, pair=Pair(X, None), result=Result(X)
    )
    assert [spec.name for spec in later.spec.inputs] == ["x", "pair_first", "result_logits"]
    assert torch.equal(later.materialise()(*later.args), now_expected(later))


def now_expected(loaded: Any) -> torch.Tensor:
    weight, bias = (loaded.weights.read(f"layer.{name}") for name in ("weight", "bias"))
    return torch.relu(torch.nn.functional.linear(X, weight, bias)) + X + X


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (lambda y, x: Box(y), "tests.models.test_structures.Box"),
        (lambda y, x: Derived(y), "tests.models.test_structures.Derived"),
        (lambda y, x: {y, x}, "builtins.set"),
    ],
)
def test_what_nobody_can_take_apart_is_refused_by_name(body: Callable[..., Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(CaptureError) as raised:
        archive_module(Returning(body).eval(), (X,), {}, tmp_path)
    assert raised.value.message == (
        f"the Returning returns a {named}, and nothing says how to take its tensors out and put them back"
    )
