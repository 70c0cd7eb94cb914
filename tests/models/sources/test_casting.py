"""--dtype casts real floating-point tensors only; without it every tensor keeps its author's dtype."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from partkit.data.model import ModelSpec
from partkit.errors import UsageError
from partkit.models.archive import archive_module
from partkit.models.capture import capture
from partkit.models.sources import load_model, parse_model
from tests.planned import even_cut
from tests.split_run import reference, run_split, same_bits

HERE = "py:tests.models.sources.test_casting"


class Mixed(nn.Module):
    """bf16 matrices, float32 norm, router and head, as many checkpoints have them; the first tensor is a norm's."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.inner = nn.Linear(8, 8, dtype=torch.bfloat16)
        self.router, self.head = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.norm(x)
        inner = self.inner(hidden.to(torch.bfloat16))
        return self.head(inner.float() * self.router(hidden).softmax(-1))


class Kinds(nn.Module):
    """One tensor of each kind that a cast could damage, and a lock that no copy can be made of."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.turn = nn.Parameter(torch.polar(torch.ones(2), torch.arange(2.0)))
        self.register_buffer("angles", torch.polar(torch.ones(2), torch.arange(2.0)))
        self.register_buffer("precise", torch.ones(4, dtype=torch.float64))
        self.register_buffer("steps", torch.arange(4, dtype=torch.int8))
        self.register_buffer("mask", torch.ones(4, dtype=torch.bool))
        self.register_buffer("small", torch.ones(4).to(torch.float8_e4m3fn))
        self.lock = threading.Lock()
        self.derived = self.layer.weight * 2

    def forward(self, x: torch.Tensor, phase: torch.Tensor) -> torch.Tensor:
        pairs = torch.view_as_complex(self.layer(x).float().view(-1, 2, 2).contiguous())
        turned = torch.view_as_real(pairs * self.angles * self.turn * phase).flatten(1)
        return turned.to(x.dtype) * self.precise.to(x.dtype) * self.mask + self.steps


class Collecting(nn.Module):
    """A forward hook collects a feature that the model returns."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.features = nn.Linear(4, 4), dict[str, torch.Tensor]()
        self.layer.register_forward_hook(lambda module, given, made: self.features.update(layer=made * 2))

    def forward(self, x: torch.Tensor) -> Any:
        return torch.relu(self.layer(x)), self.features["layer"]


def mixed() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    return Mixed(), (torch.randn(3, 8),)


def kinds() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    return Kinds(), (torch.randn(3, 4), torch.polar(torch.ones(2), torch.ones(2)))


def collecting() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    return Collecting(), (torch.randn(3, 4),)


def _dtypes(module: nn.Module) -> dict[str, str]:
    return {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in module.state_dict().items()}


def _round_trip(spec: ModelSpec) -> ModelSpec:
    return ModelSpec.model_validate_json(spec.model_dump_json())


@pytest.mark.parametrize("way", ["py", "pt2"])
def test_mixed_dtypes_are_kept_and_planned_once(way: str, tmp_path: Path) -> None:
    module, args = mixed()
    spec = parse_model(f"{HERE}:mixed") if way == "py" else archive_module(module.eval(), args, {}, tmp_path)
    loaded = load_model(spec)
    assert loaded.spec.dtype == "bfloat16"
    assert _dtypes(loaded.materialise()) == _dtypes(module)
    captured = capture(loaded)
    again = load_model(_round_trip(captured.spec))
    assert capture(again).spec == captured.spec
    assert same_bits(run_split(again, captured, even_cut(captured, 2), 2), reference(loaded))


def test_a_dtype_that_was_asked_for_stays_asked_for_in_a_plan() -> None:
    captured = capture(load_model(parse_model(f"{HERE}:mixed", dtype="float32")))
    again = load_model(_round_trip(captured.spec))
    assert set(_dtypes(again.materialise()).values()) == {"float32"}
    assert capture(again).spec == captured.spec


def test_only_real_floating_point_tensors_are_cast() -> None:
    loaded = load_model(parse_model(f"{HERE}:kinds", dtype="bfloat16"))
    assert _dtypes(loaded.materialise()) == {
        "layer.weight": "bfloat16",
        "layer.bias": "bfloat16",
        "turn": "complex64",
        "angles": "complex64",
        "precise": "bfloat16",
        "steps": "int8",
        "mask": "bool",
        "small": "float8_e4m3fn",
    }
    assert [spec.dtype for spec in loaded.spec.inputs] == ["bfloat16", "complex64"]
    exact = load_model(parse_model(f"{HERE}:kinds"))
    (given,), (wanted,) = reference(loaded), reference(exact)
    assert float((given - wanted).abs().max()) < 0.05 * float(wanted.abs().max())


def test_an_archive_in_several_dtypes_names_them_where_another_is_asked_for(tmp_path: Path) -> None:
    source = archive_module(mixed()[0].eval(), mixed()[1], {}, tmp_path).source
    with pytest.raises(UsageError) as raised:
        load_model(parse_model(source, dtype="float32"))
    assert str(raised.value) == f"{source} is saved in bfloat16 and float32, and --dtype float32 can't change it"


def test_what_cannot_be_copied_is_made_anew_with_the_same_weights() -> None:
    loaded = load_model(parse_model(f"{HERE}:kinds"))
    one, other = loaded.materialise(), loaded.materialise()
    assert one is not other
    assert one.lock is not other.lock
    assert same_bits([one.state_dict()[name] for name in _dtypes(one)], list(other.state_dict().values()))


def test_features_that_a_hook_collects_are_those_of_the_call() -> None:
    loaded = load_model(parse_model(f"{HERE}:collecting"))
    captured = capture(loaded)
    assert same_bits(run_split(loaded, captured, even_cut(captured, 2), 2), reference(loaded))
