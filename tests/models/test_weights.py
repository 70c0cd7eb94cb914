"""Seeded weights depend on the seed, the name and the shape, and on nothing else."""

import pytest
import torch
from torch import nn

from partkit.errors import WeightsError
from partkit.models.sources.meta_build import build_on_meta
from partkit.models.weights import ModuleWeights, SeededWeights, canonical_names, seeded_tensor


def test_seeded_tensors_are_the_same_whatever_else_was_drawn():
    first = seeded_tensor(1, "a.weight", (4, 8))
    torch.randn(3)
    assert torch.equal(first, seeded_tensor(1, "a.weight", (4, 8)))
    assert not torch.equal(first, seeded_tensor(2, "a.weight", (4, 8)))
    assert not torch.equal(first, seeded_tensor(1, "b.weight", (4, 8)))


@pytest.mark.parametrize(
    ("name", "shape", "mean", "spread"),
    [
        ("a.weight", (500, 400), 0.0, 400**-0.5),
        ("conv.weight", (100, 16, 3, 3), 0.0, 144**-0.5),
        ("norm.weight", (20000,), 1.0, 0.02),
        ("norm.gamma", (20000,), 1.0, 0.02),
        ("block.layer_scale", (20000,), 1.0, 0.02),
        ("block.lambda_1", (20000,), 1.0, 0.02),
        ("norm.bias", (20000,), 0.0, 0.02),
    ],
)
def test_seeded_tensors_have_the_spread_of_their_kind(name, shape, mean, spread):
    values = seeded_tensor(1, name, shape)
    assert values.mean().item() == pytest.approx(mean, abs=4 * spread / values.numel() ** 0.5)
    assert values.std().item() == pytest.approx(spread, rel=0.05)


def test_seeded_weights_are_cast_from_float32_and_shared_by_tied_names():
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, bias=False))
    tied[1].weight = tied[0].weight
    module = build_on_meta(lambda: tied, seed=0).to(torch.bfloat16)
    weights = SeededWeights(5, module)
    assert torch.equal(weights.read("1.weight"), seeded_tensor(5, "0.weight", (4, 4)).to(torch.bfloat16))
    assert canonical_names(module) == {"0.weight": "0.weight", "0.bias": "0.bias", "1.weight": "0.weight"}


@pytest.mark.parametrize("source", [lambda module: SeededWeights(1, module), lambda m: ModuleWeights(m.state_dict())])
def test_a_wrong_name_or_shape_is_told_before_anything_is_read(source):
    weights = source(nn.Linear(4, 2))
    weights.check({"weight": (2, 4), "bias": (2,)})
    with pytest.raises(WeightsError, match="the model has no tensor 'wait'"):
        weights.check({"wait": (2, 4)})
    with pytest.raises(WeightsError) as caught:
        weights.check({"weight": (4, 2)})
    assert str(caught.value) == "'weight' of the model has shape [2, 4], and [4, 2] is needed"
    with pytest.raises(WeightsError, match="the model has no tensor 'wait'"):
        weights.read("wait")


class Reading(nn.Module):
    """Reads its own parameter while it is built, which meta parameters don't allow."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("total", torch.tensor(self.weight.sum().item()))


class Copying(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("copied", self.weight.detach() * 2)


class Direct(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_parameter("weight", None)
        self._parameters["weight"] = nn.Parameter(torch.ones(3))
        self.register_buffer("position", torch.arange(3))


@pytest.mark.parametrize("factory", [Reading, Copying, Direct])
def test_parameters_end_on_meta_and_buffers_real_whatever_init_does(factory):
    module = build_on_meta(factory, seed=0)
    assert module.weight.is_meta
    assert not module.weight.requires_grad
    assert not any(buffer.is_meta for buffer in module.buffers())
    assert [buffer.sum().item() for buffer in module.buffers()] in ([3.0], [6.0], [3])


def test_building_leaves_the_callers_random_state_alone():
    torch.manual_seed(0)
    expected = torch.randn(2)
    torch.manual_seed(0)
    build_on_meta(Reading, seed=4)
    assert torch.equal(torch.randn(2), expected)
