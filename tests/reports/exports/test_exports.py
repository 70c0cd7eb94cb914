"""A plan's cuts as other tools take them: right for plans that they can follow, refused with the reason else."""

from __future__ import annotations

import pytest
import torch

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.profile import Profile
from partkit.errors import UnsupportedError
from partkit.models.inputs import synthetic_inputs
from partkit.models.sources import load_model
from partkit.planners import PlanRequest, make_plan
from partkit.planners.imported import DeviceMap, SplitPoints, pins_of_split
from partkit.reports.exports import export
from partkit.runs.profile_model import profile_model

CLUSTER = Cluster(devices=(Device(name="a"), Device(name="b")), link=Link(bytes_per_s=1e9), overlap=False)


@pytest.fixture(scope="module")
def profiles() -> dict[str, Profile]:
    return {name: profile_model(name, analytic="cpu-core") for name in ("bert-mini", "llama-tiny")}


def planned(profile: Profile, *, pins=None, granularity="op"):
    asked = {"num_stages": 2, "exact_num_stages": True, "pins": pins or {}, "granularity": granularity}
    return make_plan(profile, CLUSTER, PlanRequest(**asked))


def halves(profile: Profile, point: str):
    pins, _ = pins_of_split(SplitPoints((point,)), profile)
    return planned(profile, pins={text.rpartition("=")[0]: int(text[-1]) for text in pins})


@pytest.fixture(scope="module")
def llama(profiles):
    return halves(profiles["llama-tiny"], "model.layers.1"), profiles["llama-tiny"]


@pytest.fixture(scope="module")
def bert(profiles):
    return halves(profiles["bert-mini"], "bert.encoder.layer.2"), profiles["bert-mini"]


def test_a_device_map_has_every_module_in_its_stage(llama, bert):
    assert export(*llama, "accelerate").data == {
        "model.embed_tokens": 0,
        "model.layers.0": 0,
        "model.layers.1": 1,
        "model.layers.2": 1,
        "model.layers.3": 1,
        "model.norm": 1,
        "lm_head": 1,
        "model.rotary_emb": 0,
    }
    assert export(*bert, "accelerate").data == {
        "bert.embeddings": 0,
        "bert.encoder.layer.0": 0,
        "bert.encoder.layer.1": 0,
        "bert.encoder.layer.2": 1,
        "bert.encoder.layer.3": 1,
        "cls": 1,
    }


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("vllm", "VLLM_PP_LAYER_PARTITION=1,3\n"),
        ("llama.cpp", "-sm layer -ts 1,4\n"),
        ("deepspeed", "parts = [0, 1, 4]\n"),
        (
            "torch",
            "from torch.distributed.pipelining import SplitPoint\n\n"
            'split_spec = {\n    "model.layers.1": SplitPoint.BEGINNING,\n}\n',
        ),
    ],
)
def test_layers_of_each_stage_in_the_words_of_each_tool(llama, target, text):
    assert export(*llama, target).text == text


def test_transformers_takes_its_own_layout_only(llama, profiles):
    even = halves(profiles["llama-tiny"], "model.layers.2")
    assert export(even, profiles["llama-tiny"], "transformers").text == "DistributedConfig(pp_size=2)\n"
    with pytest.raises(UnsupportedError) as raised:
        export(*llama, "transformers")
    assert str(raised.value) == (
        "the plan has 1+3 layers, and transformers' pp_size=2 makes 2+2 and no other; export it --to torch or --to "
        "accelerate"
    )


def test_shares_of_llama_cpp_give_each_layer_to_its_stage(llama):
    shares = export(*llama, "llama.cpp").data
    total = sum(shares)
    ends = [sum(shares[: index + 1]) / total for index in range(len(shares))]
    device_by_layer = [next(i for i, end in enumerate(ends) if end > layer / 5) for layer in range(5)]
    assert device_by_layer == [0, 1, 1, 1, 1], "four layers and the output, as llama_model::load_tensors counts"


def test_a_layer_that_is_cut_is_refused_where_a_tool_cannot_cut_it(profiles):
    profile = profiles["llama-tiny"]
    plan = planned(profile, pins={r"model\.layers\.1\.self_attn": 0, r"model\.layers\.1\.mlp": 1})
    for target in ("accelerate", "vllm", "llama.cpp", "deepspeed", "transformers"):
        with pytest.raises(UnsupportedError) as raised:
            export(plan, profile, target)
        assert raised.value.message.startswith("model.layers.1 is cut between stages 0 and 1, and ")
        assert raised.value.hint == "plan with 'partkit plan llama-tiny --stages 2 --granularity layer'"
    assert len(export(plan, profile, "torch").data) == 1


def test_a_stage_without_layers_is_refused_with_the_pin_that_gives_it_one(profiles):
    profile = profiles["bert-mini"]
    plan = planned(profile, pins={"bert": 0, "cls": 1})
    with pytest.raises(UnsupportedError) as raised:
        export(plan, profile, "vllm")
    assert str(raised.value) == (
        "stage 1 has no layer of bert.encoder.layer, and vLLM gives each stage some; plan with --granularity layer "
        "--pin 'bert.encoder.layer.3=1', or for fewer stages"
    )
    assert export(planned(profile, pins={"bert.encoder.layer.3": 1}, granularity="layer"), profile, "vllm").data


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_a_device_map_comes_back_as_the_same_stages(name, request):
    plan, profile = request.getfixturevalue(name)
    again = DeviceMap(export(plan, profile, "accelerate").data)
    pins, _ = pins_of_split(again, profile)
    back = planned(profile, pins={text.rpartition("=")[0]: int(text[-1]) for text in pins})
    assert export(back, profile, "accelerate").data == again.device_by_path
    assert back.prediction.period_s <= plan.prediction.period_s


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_accelerate_runs_its_device_map_with_the_models_outputs(name, request, tmp_path):
    accelerate = pytest.importorskip("accelerate")
    plan, profile = request.getfixturevalue(name)
    device_map = export(plan, profile, "accelerate").data
    loaded, inputs = load_model(plan.model), synthetic_inputs(plan.model, 1)
    with torch.no_grad():
        right = loaded.materialise("cpu")(**inputs).logits
        names = {0: "cpu", 1: "disk"}  # of a CPU's two kinds of place, so that hooks move what crosses
        placed = {path: names[device] for path, device in device_map.items()}
        module = accelerate.dispatch_model(
            loaded.materialise("cpu"), device_map=placed, offload_dir=tmp_path, main_device="cpu"
        )
        assert torch.equal(module(**inputs).logits, right)


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning")  # torch's own use of its own pytree
@pytest.mark.parametrize("name", ["llama", "bert"])
def test_torch_cuts_at_its_split_spec_with_the_models_outputs(name, request):
    from torch.distributed.pipelining import SplitPoint, pipeline

    plan, profile = request.getfixturevalue(name)
    points = export(plan, profile, "torch").data
    loaded, inputs = load_model(plan.model), synthetic_inputs(plan.model, 1)
    module = loaded.materialise("cpu")
    with torch.no_grad():
        right = module(**inputs).logits
        pipe = pipeline(module, (), inputs, split_spec=dict.fromkeys(points, SplitPoint.BEGINNING))
        assert pipe.num_stages == 2
        (begins,) = points
        (first, second) = (dict(part.named_parameters()) for part in pipe.split_gm.children())
        assert any(path.startswith(begins) for path in second)
        assert not any(path.startswith(begins) for path in first)
        outputs = torch.utils._pytree.tree_leaves(torch.fx.Interpreter(pipe.split_gm).run(*inputs.values()))
        assert any(torch.equal(value, right) for value in outputs if isinstance(value, torch.Tensor))


def test_a_map_of_disks_or_of_nothing_is_refused(tmp_path, profiles):
    from partkit.errors import FormatError, UsageError

    path = tmp_path / "map.json"
    for text, told in {
        '{"lm_head": "disk"}': f"{path} has 'lm_head' on 'disk', which computes nothing; "
        "partkit plans for devices only",
        "[1]": f'{path} is no device_map; it is an object as {{"model.layers.0": 0}}',
    }.items():
        path.write_text(text)
        with pytest.raises(FormatError) as raised:
            DeviceMap.load(path)
        assert str(raised.value) == told
    with pytest.raises(UsageError) as wrong:
        pins_of_split(DeviceMap({"nothing": 0}), profiles["llama-tiny"])
    assert str(wrong.value).startswith("nothing that the split names is in llama-tiny; its modules are as ")
