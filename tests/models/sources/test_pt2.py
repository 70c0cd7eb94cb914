"""A saved program loads with its own weights, constants and inputs; nothing in it is unpickled."""

import io
import json
import pickle
import zipfile

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from partkit.errors import FormatError, UsageError
from partkit.models.capture import capture
from partkit.models.inputs import split_arguments, synthetic_inputs
from partkit.models.sources import load_model, parse_model
from partkit.models.sources.archive_program import _is_expression
from tests.split_run import reference, run_split, same_bits

TENSOR_META = {
    "dtype": 7,
    "sizes": [{"as_int": 1}],
    "strides": [{"as_int": 1}],
    "storage_offset": {"as_int": 0},
    "requires_grad": False,
    "device": {"type": "cpu", "index": None},
    "layout": 7,
}


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


class Tells(nn.Module):
    """Returns texts beside its tensors: one is the name of an operation, one would end a line of code."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x, mode):
        return {"y": self.linear(x).relu(), "kind": "linear", "mode": mode, "rest": ["a'b\n", (x, 3, None, 0.5)]}


def test_a_saved_program_may_return_texts(tmp_path):
    module, call = Tells().eval(), (torch.randn(2, 4), "relu")
    torch.export.save(torch.export.export(module, call), tmp_path / "tells.pt2")
    loaded = load_model(parse_model(f"pt2:{tmp_path / 'tells.pt2'}"))
    captured = capture(loaded)
    expected = pytree.tree_leaves(module(*call))
    assert captured.out_spec == pytree.tree_structure(module(*call))
    assert same_bits(reference(loaded), expected)
    placed = captured.placed
    assert same_bits(run_split(loaded, captured, {name: int(name != placed[0]) for name in placed}, 2), expected)


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
    with pytest.raises(FormatError, match=r"holds no 'models/model\.json'"):
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


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def write(path, members, *, compress=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compress) as archive:
        for name, content in members:
            archive.writestr("own/" + name, content)
    return path


def refused(path, capfd):
    with pytest.raises(FormatError) as caught:
        load_model(parse_model(f"pt2:{path}"), allow_code=False)
    assert "ran" not in capfd.readouterr().out
    return caught.value.message.replace(str(path), "FILE")


OPAQUE = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": False, "tensor_meta": TENSOR_META}


def with_opaque_constant(members):
    config = json.loads(members["data/constants/model_constants_config.json"])
    config["config"]["own"] = OPAQUE
    evil = {"data/constants/opaque_obj_0": pickle.dumps(Evil())}
    return members | evil | {"data/constants/model_constants_config.json": json.dumps(config).encode()}


def saved_by_pickle():
    buffer = io.BytesIO()
    torch.save({"linear.weight": Evil()}, buffer)
    return buffer.getvalue()


def test_members_that_torch_would_unpickle_are_refused(tmp_path, saved, capfd):
    members, path = members_of(saved[0]), tmp_path / "evil.pt2"
    what = ", which partkit doesn't read: it could run code"
    write(path, with_opaque_constant(members).items())
    assert refused(path, capfd) == f"FILE holds 'own/data/constants/opaque_obj_0'{what}"
    for name in ("data/weights/model.pt", "data/constants/model.pt", "data/constants/custom_obj_0", "models/two.json"):
        write(path, (members | {name: saved_by_pickle()}).items())
        assert refused(path, capfd) == f"FILE holds 'own/{name}'{what}"
    write(path, (members | {"data/aotinductor/model/a.so": b""}).items())
    assert refused(path, capfd) == f"FILE holds 'own/data/aotinductor/model/a.so'{what}"
    renamed = {name: content.replace(b'"tensor_0"', b'"opaque_obj"') for name, content in members.items()}
    write(path, renamed.items())
    assert refused(path, capfd) == (
        "FILE keeps 'lifted_tensor_0' as a pickle, which can run code when it is read, so partkit doesn't"
    )


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused_whichever_a_reader_would_take(tmp_path, saved, capfd):
    members, path = members_of(saved[0]), tmp_path / "twice.pt2"
    evil = members["data/weights/model_weights_config.json"].replace(b'"use_pickle": false', b'"use_pickle": true')
    write(path, [("data/weights/model_weights_config.json", evil), *members.items()])
    assert refused(path, capfd) == (
        "FILE holds 'data/weights/model_weights_config.json' twice, so that readers may see different ones"
    )


def test_compressed_overlapping_and_empty_members_are_refused_before_they_take_memory(tmp_path, saved, capfd):
    members, path = members_of(saved[0]), tmp_path / "large.pt2"
    write(path, (members | {"extra/much": bytes(1 << 20)}).items(), compress=zipfile.ZIP_DEFLATED)
    assert refused(path, capfd) == (
        "FILE holds 'data/weights/weight_0' compressed, which torch.export.save doesn't do: it could unpack to any size"
    )
    write(path, (members | {"data/weights/weight_0": b""}).items())
    assert refused(path, capfd) == "FILE has no values for 'linear.weight'"
    content = bytearray(write(path, members.items()).read_bytes())
    second = content.rindex(b"PK\x01\x02", 0, content.rindex(b"own/data/weights/weight_1"))
    content[second + 42 : second + 46] = bytes(4)  # the central directory sends weight_1 to weight_0's place
    path.write_bytes(content)
    assert refused(path, capfd) == "FILE is damaged: 'data/weights/weight_1' overlaps another member"


RUN = "__import__('builtins').print('ran')"


def edited(members, change):
    program = json.loads(members["models/model.json"])
    change(program)
    return members | {"models/model.json": json.dumps(program).encode()}


def first_node(program):
    return program["graph_module"]["graph"]["nodes"][0]


def signature(program):
    return program["graph_module"]["module_call_graph"][0]["signature"]


def import_of(module):
    return json.dumps([1, {"type": "builtins.dict", "context": module, "children_spec": []}])


HOSTILE = {
    "computes a size from": lambda program: program["graph_module"]["graph"]["sym_int_values"].update(
        s0={"as_expr": {"expr_str": RUN, "hint": None}}
    ),
    "calls 'torch.os.system'": lambda program: first_node(program).update(target="torch.os.system"),
    "calls 'torch.ops.aten.save.default'": lambda program: first_node(program).update(
        target="torch.ops.aten.save.default"
    ),
    "calls 'torch.ops.aten.from_file.default'": lambda program: first_node(program)["inputs"].append(
        {"name": "f", "arg": {"as_operator": "torch.ops.aten.from_file.default"}, "kind": 1}
    ),
    "calls '_operator.methodcaller'": lambda program: first_node(program).update(target="_operator.methodcaller"),
    "imports": lambda program: signature(program).update(
        out_spec=import_of('{"__enum__": true, "fqn": "evil:A", "name": "B"}')
    ),
    "makes values by 'os.system'": lambda program: signature(program).update(
        out_spec=json.dumps(
            [
                1,
                {
                    "type": "collections.defaultdict",
                    "context": {"default_factory_module": "os", "default_factory_name": "system", "dict_context": []},
                    "children_spec": [],
                },
            ]
        )
    ),
    'has the name "x=__import__': lambda program: program["graph_module"]["graph"]["inputs"][0]["as_tensor"].update(
        name=f"x={RUN}"
    ),
    'has the name "flag=__import__': lambda program: signature(program).update(
        in_spec=signature(program)["in_spec"].replace("flag", f"flag={RUN}")
    ),
    'has the name "y=__import__': lambda program: signature(program).update(forward_arg_names=["x", f"y={RUN}"]),
    "takes an object of class 'any.Class'": lambda program: first_node(program)["inputs"].append(
        {"name": "o", "arg": {"as_custom_obj": {"name": "o", "class_fqn": "any.Class"}}, "kind": 1}
    ),
}


@pytest.mark.parametrize("said", HOSTILE)
def test_a_program_that_would_have_torch_run_python_is_refused(tmp_path, saved, capfd, said):
    path = write(tmp_path / "evil.pt2", edited(members_of(saved[0]), HOSTILE[said]).items())
    assert refused(path, capfd).startswith(f"FILE {said}")


def test_the_structure_that_partkit_adds_is_checked_too(tmp_path, saved, capfd):
    structure = import_of('{"__enum__": true, "fqn": "evil:A", "name": "B"}')
    extra = json.dumps({"structure": structure, "classes": "", "paths": [], "constants": {}}).encode()
    path = write(tmp_path / "evil.pt2", (members_of(saved[0]) | {"extra/partkit/outputs.json": extra}).items())
    assert refused(path, capfd).startswith("FILE imports")


def test_guards_of_a_program_are_not_compiled(tmp_path, saved, capfd):
    members = edited(members_of(saved[0]), lambda program: program.update(guards_code=[RUN]))
    loaded = load_model(parse_model(f"pt2:{write(tmp_path / 'guarded.pt2', members.items())}"))
    assert loaded.materialise()(*loaded.args, **loaded.kwargs).shape == (2, 4)
    assert "ran" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("Symbol('s0', positive=True, integer=True)", True),
        ("Mul(Integer(2), Add(Symbol('s0', integer=True), Integer(-1)))", True),
        ("2*s0 + 1", True),
        ("FloorDiv(s0, 2)", True),
        ("Max('__import__(1)', 2)", False),
        ("Symbol('a b')", False),
        ("s0.__class__", False),
        ("(lambda: 1)()", False),
        ("[x for x in s0]", False),
    ],
)
def test_a_symbolic_size_is_arithmetic(text, is_one):
    assert _is_expression(text) is is_one


def test_example_inputs_that_would_run_code_are_refused(tmp_path, saved, capsys):
    torch.save(Evil(), tmp_path / "evil.pt")
    evil = (tmp_path / "evil.pt").read_bytes()
    made = rewrite(saved[0], tmp_path / "evil.pt2", "sample_inputs/model.pt", lambda _: evil)
    with pytest.raises(FormatError, match="has example inputs that can't be read safely"):
        load_model(parse_model(f"pt2:{made}"))
    assert capsys.readouterr().out == ""
