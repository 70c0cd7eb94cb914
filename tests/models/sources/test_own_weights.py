"""``--weights``: safetensors by name for a module that was built on meta."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from partkit.errors import UsageError, WeightsError
from partkit.models.sources import load_model, parse_model


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 2)
        self.register_buffer("shift", torch.ones(2))

    def forward(self, x):
        return self.second(self.first(x)) + self.shift


@pytest.fixture
def spec(monkeypatch):
    made = ModuleType("own_weights_net")

    def net():
        with torch.device("meta"):
            module = Net()
        return module, (torch.ones(1, 3),)

    made.net = net
    monkeypatch.setitem(sys.modules, "own_weights_net", made)
    return lambda path, **more: parse_model("py:own_weights_net:net", weights=str(path), **more)


def test_a_module_on_meta_has_the_weights_of_the_folder(tmp_path, spec):
    torch.manual_seed(3)
    trained = Net().eval()
    trained.shift.fill_(5.0)
    state = trained.state_dict()
    save_file({name: state[name] for name in ("first.weight", "first.bias")}, tmp_path / "a.safetensors")
    save_file({name: state[name] for name in state if "first" not in name}, tmp_path / "b.safetensors")
    loaded = load_model(spec(tmp_path))
    assert {name for name, each in loaded.module.named_parameters() if each.is_meta} == {
        *("first.weight", "first.bias", "second.weight", "second.bias")
    }
    assert torch.equal(loaded.weights.read("second.weight"), state["second.weight"])
    call = torch.randn(1, 3)
    assert torch.equal(loaded.materialise()(call), trained(call))
    half = load_model(spec(tmp_path, dtype="bfloat16"))
    assert torch.equal(half.weights.read("first.bias"), state["first.bias"].bfloat16())
    assert torch.equal(half.materialise().shift, state["shift"].bfloat16())


def test_weights_that_do_not_fit_are_told_with_names_and_counts(tmp_path, spec):
    state = {**Net().state_dict(), "second.bias": torch.zeros(4)}
    state["frist.weight"] = state.pop("first.weight")
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError) as caught:
        load_model(spec(tmp_path / "w.safetensors"))
    assert str(caught.value) == (
        f"{tmp_path}/w.safetensors: 1 of 5 tensors of Net are missing, the first 'first.weight'; 1 of 5 have no place "
        "in Net, the first 'frist.weight'; 1 have another shape, the first 'second.bias': [4] where Net needs [2]; is "
        "'frist.weight' there what 'first.weight' is here?"
    )


def test_weights_that_are_not_there_or_not_wanted_are_told_before_anything_is_built(tmp_path, spec):
    with pytest.raises(WeightsError) as caught:
        spec(tmp_path / "none")
    assert str(caught.value) == (
        f"there are no weights at {tmp_path}/none; make a file with safetensors.torch.save_model(module, file)"
    )
    for name in ("a", "b"):
        save_file({"x": torch.zeros(1)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(WeightsError) as caught:
        spec(tmp_path)
    assert str(caught.value) == f"{tmp_path} has 'x' twice, in a.safetensors and b.safetensors"
    save_file(Net().state_dict(), tmp_path / "net.safetensors")
    sys.modules["own_weights_net"].net = lambda: nn.LazyLinear(2)
    with pytest.raises(UsageError) as refused:
        load_model(spec(tmp_path / "net.safetensors"))
    assert str(refused.value) == (
        "py:own_weights_net:net has lazy modules, whose parameters have no shape that --weights could fill; return the "
        "module with its sizes given"
    )
    with pytest.raises(UsageError) as refused:
        parse_model("bert-tiny", weights=str(tmp_path))
    assert str(refused.value) == (
        "--weights is for modules of your own (py:), and bert-tiny has its weights already; leave it out"
    )
