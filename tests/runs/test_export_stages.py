"""Stages as files: run one after the other by torch and by onnxruntime they give the unsplit model's outputs."""

from __future__ import annotations

import json

import pytest
import torch

from partkit.errors import UnsupportedError
from partkit.models.inputs import synthetic_inputs
from partkit.models.sources import load_model
from partkit.runs.export_stages import MANIFEST, write_stages
from tests.planned import plan_of


def values_through(manifest, run_stage, inputs):
    """What a program does that has nothing but the files and the manifest."""
    values = dict(inputs)
    for stage in manifest["stages"]:
        given = run_stage(stage, [values[name] for name in stage["inputs"]])
        values |= dict(zip(stage["outputs"], given, strict=True))
    return [values[name] for name in manifest["outputs"] if isinstance(name, str)]


def expected(plan, inputs):
    loaded = load_model(plan.model)
    with torch.no_grad():
        outputs = loaded.materialise("cpu")(**inputs)
    return [tensor for tensor in torch.utils._pytree.tree_leaves(outputs) if isinstance(tensor, torch.Tensor)]


@pytest.mark.parametrize(("model", "num_stages"), [("bert-tiny", 2), ("llama-tiny", 3)])
def test_exported_programs_of_stages_give_the_unsplit_models_outputs(model, num_stages, tmp_path):
    plan = plan_of(model, num_stages)
    manifest = write_stages(plan, tmp_path / "stages", "pt2")
    assert manifest == json.loads((tmp_path / "stages" / MANIFEST).read_text())
    assert len(manifest["stages"]) == num_stages
    inputs = synthetic_inputs(plan.model, 1)

    def run_stage(stage, given):
        program = torch.export.load(tmp_path / "stages" / stage["file"])
        with torch.no_grad():
            return program.module()(*given)

    found = values_through(manifest, run_stage, inputs)
    for value, right in zip(found, expected(plan, inputs), strict=True):
        assert torch.equal(value, right)


@pytest.mark.parametrize("model", ["bert-tiny", "llama-tiny"])
def test_onnx_files_of_stages_give_the_unsplit_models_outputs(model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    plan = plan_of(model, 2)
    manifest = write_stages(plan, tmp_path, "onnx")
    inputs = synthetic_inputs(plan.model, 1)

    def run_stage(stage, given):
        session = onnxruntime.InferenceSession(tmp_path / stage["file"])
        assert [each.name for each in session.get_inputs()] == stage["inputs"]
        feed = dict(zip(stage["inputs"], (tensor.numpy() for tensor in given), strict=True))
        return [torch.from_numpy(value) for value in session.run(stage["outputs"], feed)]

    found = values_through(manifest, run_stage, inputs)
    for value, right in zip(found, expected(plan, inputs), strict=True):
        torch.testing.assert_close(value, right, rtol=1e-4, atol=1e-4)


def test_a_plan_of_several_sizes_has_no_files(tmp_path):
    plan = plan_of("bert-tiny", 2)
    inputs = tuple(each.model_copy(update={"dynamic": {"1": "seq"}}) for each in plan.model.inputs)
    several = plan.model_copy(update={"model": plan.model.model_copy(update={"inputs": inputs})})
    with pytest.raises(UnsupportedError) as raised:
        write_stages(several, tmp_path, "pt2")
    assert str(raised.value) == "the plan serves several sizes (seq), and a file is of one; plan without --dynamic"
    assert not list(tmp_path.iterdir())
