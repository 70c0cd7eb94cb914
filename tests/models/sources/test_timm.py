"""timm models load through timm's public functions; a stand-in takes timm's place where it isn't installed."""

import importlib.machinery
import sys
import types

import pytest
import torch
from torch import nn

from partkit.errors import MachineError, UsageError
from partkit.models.sources import load_model, parse_model


class Tiny(nn.Module):
    pretrained_cfg = {"input_size": (3, 8, 8)}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(self.convolution(x))


@pytest.fixture
def stand_in(monkeypatch):
    module = types.ModuleType("timm")
    module.__spec__ = importlib.machinery.ModuleSpec("timm", None)
    module.__version__ = "1.0"
    module.is_model = lambda name: name == "tiny18"
    module.list_models = lambda: ["tiny18"]
    module.create_model = lambda name, pretrained: Tiny()
    monkeypatch.setitem(sys.modules, "timm", module)


def test_a_timm_model_gets_its_own_input_size_and_seeded_weights(stand_in):
    loaded = load_model(parse_model("timm:tiny18", batch=2, dtype="bfloat16"))
    assert [str(item) for item in loaded.spec.inputs] == ["x=2x3x8x8:bfloat16"]
    assert all(parameter.is_meta for parameter in loaded.module.parameters())
    assert loaded.materialise()(*loaded.args).dtype == torch.bfloat16


def test_an_input_override_changes_the_shape_of_the_one_input(stand_in):
    loaded = load_model(parse_model("timm:tiny18", inputs=["x=1x3x16x16"]))
    assert loaded.args[0].shape == (1, 3, 16, 16)
    with pytest.raises(UsageError) as caught:
        load_model(parse_model("timm:tiny18", inputs=["y=1x3x16x16"]))
    assert str(caught.value) == "timm:tiny18 has no input 'y'; it has one, x"


def test_an_unknown_timm_model_is_refused_with_the_nearest(stand_in):
    with pytest.raises(UsageError) as caught:
        load_model(parse_model("timm:tiny19"))
    assert str(caught.value) == "timm 1.0 has no model 'tiny19'; did you mean tiny18?"


@pytest.mark.parametrize("text", ["timm:hf-hub:a/b", "timm:local-dir:/tmp"])
def test_names_that_would_reach_the_network_or_a_folder_are_refused(stand_in, text):
    with pytest.raises(UsageError, match="isn't the plain name of a timm model"):
        parse_model(text)


def test_without_timm_the_install_command_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MachineError) as caught:
        parse_model("timm:resnet18")
    assert str(caught.value) == "timm:resnet18 needs timm, which isn't installed; pip install timm"
