"""One capture serves every batch and sequence up to its own: stages are made for each shape as it comes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from partkit.data.model import ModelSpec
from partkit.errors import UsageError
from partkit.models.capture import Capture, capture
from partkit.models.inputs import split_arguments, synthetic_inputs
from partkit.models.sources import load_model, parse_model
from partkit.models.sources.loaded import LoadedModel
from partkit.profilers.analytic import analytic_times
from partkit.profilers.nominal import nominal_device
from partkit.stages.cut import StageGraph, cut
from tests.split_run import profile_of, reference, run_stages, same_bits, stages_cut_at

GPT2 = {
    "vocab_size": 64,
    "n_positions": 32,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "architectures": ["GPT2LMHeadModel"],
}
T5 = {
    "vocab_size": 64,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 1,
    "num_heads": 2,
    "decoder_start_token_id": 0,
    "architectures": ["T5ForConditionalGeneration"],
}
VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
    "architectures": ["ViTForImageClassification"],
}


def spec_of(folder: Path, kind: str) -> ModelSpec:
    configs = {"gpt2": GPT2, "t5": T5, "vit": VIT}
    if kind == "vit":
        (folder / "config.json").write_text(json.dumps(VIT | {"model_type": "vit"}), encoding="utf-8")
        return parse_model(f"hf:{folder}", batch=4, dynamic=("batch",))
    if kind in configs:
        (folder / "config.json").write_text(json.dumps(configs[kind] | {"model_type": kind}), encoding="utf-8")
        return parse_model(f"hf:{folder}", batch=4, seq=24, dynamic=("batch", "seq"))
    masked = ("attention_mask=4x24:int64",) if kind == "bert with a mask" else ()
    return parse_model(
        "llama-tiny" if kind == "llama" else "bert-tiny", batch=4, seq=24, inputs=masked, dynamic=("seq", "batch")
    )


def fed_with(loaded: LoadedModel, sizes: Mapping[str, int]) -> LoadedModel:
    """The model with inputs of other sizes, the masks of the last tokens off."""
    spec = loaded.spec.resized(sizes)
    tensors = synthetic_inputs(spec, 1)
    if "attention_mask" in tensors:
        tensors["attention_mask"][:, -2:] = 0
    args, kwargs = split_arguments(loaded, tensors)
    return replace(loaded, args=args, kwargs=kwargs)


def cuts(captured: Capture, every: int) -> list[tuple[StageGraph, ...]]:
    profile = profile_of(captured)
    positions = range(1, sum(not node.free for node in profile.nodes), every)
    found = [stages_cut_at(profile, position) for position in positions]
    return [cut(captured, stage_by_node, 2) for stage_by_node in found if stage_by_node is not None]


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["bert", "bert with a mask", "gpt2", "llama", "t5", "vit"])
def test_every_cut_runs_for_sizes_up_to_the_largest_as_the_unsplit_model_does(kind: str, tmp_path: Path) -> None:
    loaded = load_model(spec_of(tmp_path, kind))
    captured = capture(loaded)
    stages = cuts(captured, 4)
    assert len(stages) > 10
    for sizes in ({"batch": 4, "seq": 24}, {"batch": 3, "seq": 11}, {"batch": 1, "seq": 7}):
        sizes = {label: size for label, size in sizes.items() if label in captured.spec.sizes}
        other = fed_with(loaded, sizes)
        expected = reference(other)
        for each in stages:
            assert same_bits(run_stages(other, captured, each, sizes), expected), sizes


def test_a_dynamic_plan_says_which_dimensions_vary_and_up_to_what() -> None:
    spec = parse_model("bert-tiny", batch=4, seq=24, dynamic=("seq", "batch"))
    assert [(each.shape, each.dynamic) for each in spec.inputs] == [((4, 24), {"0": "batch", "1": "seq"})]
    assert spec.sizes == {"batch": 4, "seq": 24}
    assert [each.shape for each in spec.resized({"seq": 9}).inputs] == [(4, 9)]
    assert spec.resized({"batch": 2}).batch == 2


def test_positions_masks_and_lengths_are_free_and_the_profile_is_of_the_largest_sizes() -> None:
    varying = capture(load_model(parse_model("gpt2", batch=2, seq=16, dynamic=("seq",))))
    fixed = capture(load_model(parse_model("gpt2", batch=2, seq=16)))
    values = [[(n.op, n.output_bytes) for n in profile_of(each).nodes if not n.free] for each in (varying, fixed)]
    assert values[0] == values[1]
    assert varying.spec.structure_sha256 != fixed.spec.structure_sha256


def test_a_capture_with_sizes_has_the_same_digest_each_time() -> None:
    first, second = (capture(load_model(parse_model("bert-tiny", batch=2, dynamic=("batch",)))) for _ in range(2))
    assert first.spec == second.spec
    assert profile_of(first).sha256 == profile_of(second).sha256


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (
            {"seq": 25},
            "--seq 25 is out of range: bert-tiny was planned for 1 to 24; plan it again with '--dynamic seq --seq 25'",
        ),
        (
            {"batch": 2},
            "--batch 2 has no effect: the plan of bert-tiny is for fixed shapes; plan it again with '--dynamic batch'",
        ),
    ],
)
def test_sizes_that_a_plan_does_not_serve_are_refused(sizes: dict[str, int], message: str) -> None:
    spec = parse_model("bert-tiny", batch=4, seq=24, dynamic=("seq",))
    with pytest.raises(UsageError) as raised:
        spec.resized(sizes)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (
            "vit",
            {"dynamic": ("seq",)},
            "--dynamic seq has no meaning for vit: no input has such a dimension; leave it out",
        ),
        (
            "bert-tiny",
            {"dynamic": ("batch",)},
            "--dynamic batch lets batch vary up to --batch, which is 1; "
            "add --batch with the largest size that the plan must serve",
        ),
        (
            "t5-small",
            {"dynamic": ("seq",), "inputs": ("decoder_input_ids=1x16:int64",)},
            "--dynamic seq needs one size, and the inputs of t5-small have [16, 128]; "
            "give their shapes with --input so that they agree",
        ),
        (
            "bert-tiny",
            {"dynamic": ("width",)},
            "--dynamic 'width' is unknown; use batch or seq, or name a dimension, as in tokens.1=length",
        ),
    ],
)
def test_sizes_that_cannot_vary_are_refused(source: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_model(source, **options)
    assert str(raised.value) == message


def test_analytic_times_are_those_of_the_largest_sizes() -> None:
    seconds = []
    for dynamic in ((), ("batch", "seq")):
        captured = capture(load_model(parse_model("llama-tiny", batch=4, seq=32, dynamic=dynamic)))
        seconds.append(sum(analytic_times(captured, nominal_device("h100")).values()))
    assert seconds[0] == seconds[1] > 0
