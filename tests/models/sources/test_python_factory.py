"""A py: factory's module keeps its own weights; its faults are told in the user's terms."""

import itertools

import pytest
import torch

from partkit.errors import UsageError
from partkit.models.inputs import split_arguments, synthetic_inputs
from partkit.models.sources import load_model, parse_model

CODE = """
import torch
from torch import nn

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.linear = nn.Linear(4, 3)
        self.register_buffer("shift", torch.ones(3))

    def forward(self, tokens, extra, scale=1.0):
        return self.linear(self.embedding(tokens) + extra["a"] + extra["b"][0]) * scale + self.shift

def whole():
    extra = {"a": torch.ones(2, 4), "b": [torch.zeros(2, 4)]}
    return Own(), (torch.tensor([[4, 1], [0, 2]]), extra), {"scale": 2.0}

def plain():
    return nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5))

def on_meta():
    with torch.device("meta"):
        return nn.Linear(4, 2)

def broken():
    raise ValueError("no luck")

def wrong():
    return 3

def misfit():
    return nn.Linear(4, 2), (torch.ones(1), torch.ones(1)), {}
"""
_NUMBERS = itertools.count()


@pytest.fixture
def module_name(tmp_path, monkeypatch):
    """The name of a fresh module that holds CODE in the current folder."""
    name = f"own_model_{next(_NUMBERS)}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", __import__("sys").path.copy())
    return name


def test_a_factorys_weights_and_examples_are_kept(module_name):
    loaded = load_model(parse_model(f"py:{module_name}:whole", seed=7))
    torch.manual_seed(7)
    expected = torch.nn.Embedding(5, 4).weight
    assert torch.equal(loaded.weights.read("embedding.weight"), expected)
    assert torch.equal(loaded.weights.read("shift"), torch.ones(3))
    assert loaded.args[0].tolist() == [[4, 1], [0, 2]]
    assert loaded.kwargs == {"scale": 2.0}
    assert not loaded.module.training
    assert not any(parameter.requires_grad for parameter in loaded.module.parameters())


def test_inputs_are_named_as_export_names_them_and_keep_the_range_of_indices(module_name):
    loaded = load_model(parse_model(f"py:{module_name}:whole"))
    program = torch.export.export(loaded.module, loaded.args, loaded.kwargs, strict=False)
    names = [name for name in program.graph_signature.user_inputs if isinstance(name, str)]
    assert [item.name for item in loaded.spec.inputs] == names == ["tokens", "extra_a", "extra_b_0"]
    assert loaded.spec.inputs[0].range == (0, 5)
    args, kwargs = split_arguments(loaded, synthetic_inputs(loaded.spec, 3))
    assert loaded.module(*args, **kwargs).shape == (2, 2, 3)


def test_one_tensor_given_for_two_inputs_is_two_inputs(module_name, tmp_path):
    code = "import torch\nclass Sub(torch.nn.Module):\n    def forward(self, a, b):\n        return a, b\n"
    (tmp_path / f"{module_name}_same.py").write_text(
        f"{code}def make():\n    t = torch.ones(2)\n    return Sub(), (t, t)\n"
    )
    loaded = load_model(parse_model(f"py:{module_name}_same:make"))
    program = torch.export.export(loaded.module, loaded.args, loaded.kwargs, strict=False)
    assert [spec.arg.name for spec in program.graph_signature.output_specs] == ["a", "b"]


def test_materialising_leaves_the_factorys_module_alone(module_name):
    loaded = load_model(parse_model(f"py:{module_name}:whole"))
    copy = loaded.materialise()
    assert copy.linear.weight is not loaded.module.linear.weight
    assert copy.linear.weight.data_ptr() != loaded.module.linear.weight.data_ptr()
    assert torch.equal(copy(*loaded.args, **loaded.kwargs), loaded.module(*loaded.args, **loaded.kwargs))


def test_inputs_given_on_the_command_line_feed_a_bare_module(module_name):
    loaded = load_model(parse_model(f"py:{module_name}:plain", inputs=["input=3x4"]))
    assert [str(item) for item in loaded.spec.inputs] == ["input=3x4:float32"]
    assert loaded.module(*loaded.args, **loaded.kwargs).shape == (3, 2)


def test_a_given_shape_replaces_that_of_the_example(module_name):
    loaded = load_model(parse_model(f"py:{module_name}:whole", inputs=["tokens=6x2"]))
    assert str(loaded.spec.inputs[0]) == "tokens=6x2:int64"
    assert loaded.args[0].shape == (6, 2)
    assert int(loaded.args[0].max()) < 5


def test_a_spec_read_back_from_a_plan_loads_the_same_model(module_name):
    first = load_model(parse_model(f"py:{module_name}:whole", inputs=["tokens=6x2"]))
    again = load_model(type(first.spec).model_validate_json(first.spec.model_dump_json()))
    assert again.spec == first.spec
    assert torch.equal(again.args[0], first.args[0])


def test_another_dtype_casts_weights_and_floating_examples(module_name):
    loaded = load_model(parse_model(f"py:{module_name}:whole", dtype="bfloat16"))
    assert loaded.weights.read("linear.weight").dtype == torch.bfloat16
    assert [item.dtype for item in loaded.spec.inputs] == ["int64", "bfloat16", "bfloat16"]


def test_a_module_made_on_meta_gets_seeded_weights(module_name):
    loaded = load_model(parse_model(f"py:{module_name}:on_meta", inputs=["input=1x4"]))
    assert loaded.materialise()(**loaded.kwargs).isfinite().all()


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("plain", "py:M:plain returned a module without example inputs; return (module, args, kwargs), or give each "
                  "with --input name=1x128:int64"),
        ("broken", "py:M:broken raised ValueError: no luck"),
        ("wrong", "py:M:wrong returned int; return a torch.nn.Module, or (module, args, kwargs) with example inputs"),
        ("misfit", "py:M:misfit: its example inputs don't fit forward: too many positional arguments"),
        ("hole", "py:M:hole: M has no function 'hole'; did you mean whole?"),
    ],
)  # fmt: skip
def test_a_factorys_faults_are_told_whole(module_name, factory, message):
    with pytest.raises(UsageError) as caught:
        load_model(parse_model(f"py:{module_name}:{factory}"))
    assert str(caught.value).replace(module_name, "M") == message


def test_a_module_that_is_not_there_is_told_apart_from_one_that_it_needs(module_name, tmp_path):
    with pytest.raises(UsageError) as caught:
        load_model(parse_model("py:not_anywhere.at_all:make"))
    assert str(caught.value) == (
        f"py:not_anywhere.at_all:make: there is no module 'not_anywhere' in {tmp_path} or elsewhere on sys.path; "
        "run from the folder that holds it, or set PYTHONPATH"
    )
    (tmp_path / f"{module_name}_needs.py").write_text("import not_installed_anywhere")
    with pytest.raises(UsageError, match="its module needs 'not_installed_anywhere', which isn't installed"):
        load_model(parse_model(f"py:{module_name}_needs:make"))


def test_an_unknown_input_is_refused_with_the_known_ones(module_name):
    with pytest.raises(UsageError) as caught:
        load_model(parse_model(f"py:{module_name}:whole", inputs=["token=1x2:int64"]))
    assert caught.value.message == f"Own of py:{module_name}:whole has no input 'token'"
    assert caught.value.hint == "did you mean tokens?"


def test_code_named_by_a_plan_needs_consent(module_name):
    with pytest.raises(UsageError) as caught:
        load_model(parse_model(f"py:{module_name}:whole"), allow_code=False)
    assert str(caught.value) == (
        f"the plan runs code of its own (py:{module_name}:whole), which needs consent; "
        "read that code, then add --allow-code"
    )


@pytest.mark.parametrize("text", ["py:", "py:module", "py:a b:make", "py:module:make:more", "py:./model.py:make"])
def test_a_name_of_another_form_is_refused(text):
    with pytest.raises(UsageError):
        parse_model(text)


def test_batch_has_no_meaning_for_a_users_model():
    with pytest.raises(UsageError, match="--batch has no meaning for py:a:b"):
        parse_model("py:a:b", batch=2)
