"""A saved program loads with its own weights, constants and inputs; nothing in it is unpickled."""

import zipfile

import pytest
import torch
from torch import nn

from partkit.errors import FormatError, UsageError
from partkit.models.inputs import split_arguments, synthetic_inputs
from partkit.models.sources import load_model, parse_model


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("shift", torch.ones(4))
        self.register_buffer("passing", torch.ones(4), persistent=False)

    def forward(self, x, extra, flag=True):
        return self.linear(x) + self.shift + extra["a"] + self.passing + torch.tensor([1.0, 2, 3, 4])


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    call = (torch.randn(2, 4), {"a": torch.ones(4)}), {"flag": False}
    program = torch.export.export(Own().eval(), *call, strict=False)
    torch.export.save(program, tmp_path / "own.pt2")
    return tmp_path / "own.pt2", program


def test_a_saved_program_keeps_its_weights_inputs_and_results(saved):
    path, program = saved
    loaded = load_model(parse_model(f"pt2:{path}"))
    assert loaded.module is None
    assert [str(item) for item in loaded.spec.inputs] == ["x=2x4:float32", "extra_a=4:float32"]
    assert torch.equal(loaded.weights.read("linear.weight"), program.state_dict["linear.weight"])
    assert torch.equal(loaded.weights.read("shift"), torch.ones(4))
    loaded.weights.check({name: tuple(each.shape) for name, each in program.state_dict.items()})
    expected = program.module()(*loaded.args, **loaded.kwargs)
    assert torch.equal(loaded.materialise()(*loaded.args, **loaded.kwargs), expected)
    args, kwargs = split_arguments(loaded, synthetic_inputs(loaded.spec, 1))
    assert kwargs == {"flag": False}
    assert loaded.materialise()(*args, **kwargs).shape == (2, 4)


def test_options_that_cannot_change_a_saved_program_are_refused(saved):
    source = f"pt2:{saved[0]}"
    for options in ({"batch": 2}, {"seq": 2}, {"inputs": ["x=1x4"]}):
        with pytest.raises(UsageError):
            parse_model(source, **options)
    with pytest.raises(UsageError) as caught:
        load_model(parse_model(source, dtype="bfloat16"))
    assert str(caught.value) == f"{source} is saved in float32, and --dtype bfloat16 can't change it"


def test_a_file_that_is_not_there_or_not_an_archive_is_refused(tmp_path, saved):
    with pytest.raises(UsageError) as missing:
        parse_model("pt2:nowhere.pt2")
    assert missing.value.message == "there is no file nowhere.pt2"
    short = tmp_path / "short.pt2"
    short.write_bytes(saved[0].read_bytes()[:500])
    with pytest.raises(FormatError, match=r"short\.pt2 isn't a pt2 archive, or it is cut short"):
        parse_model(f"pt2:{short}")
    with zipfile.ZipFile(tmp_path / "other.pt2", "w") as archive:
        archive.writestr("a/b", "c")
    with pytest.raises(FormatError, match="holds no program named 'model'"):
        load_model(parse_model(f"pt2:{tmp_path / 'other.pt2'}"))


def rewrite(source, made, member, change):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name.endswith(member) else content)
    return made


def test_a_pickled_weight_is_refused_before_torch_reads_it(tmp_path, saved):
    made = rewrite(
        saved[0],
        tmp_path / "pickled.pt2",
        "model_weights_config.json",
        lambda content: content.replace(b'"use_pickle": false', b'"use_pickle": true', 1),
    )
    with pytest.raises(FormatError) as caught:
        load_model(parse_model(f"pt2:{made}"))
    assert caught.value.message == (
        f"{made} keeps 'linear.weight' as a pickle, which can run code when it is read, so partkit doesn't"
    )


class Evil:
    def __reduce__(self):
        return (print, ("ran",))


def test_example_inputs_that_would_run_code_are_refused(tmp_path, saved, capsys):
    torch.save(Evil(), tmp_path / "evil.pt")
    evil = (tmp_path / "evil.pt").read_bytes()
    made = rewrite(saved[0], tmp_path / "evil.pt2", "sample_inputs/model.pt", lambda _: evil)
    with pytest.raises(FormatError, match="has example inputs that can't be read safely"):
        load_model(parse_model(f"pt2:{made}"))
    assert capsys.readouterr().out == ""
