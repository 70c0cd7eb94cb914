"""The contract of cutting: any structure, at every operation, gives the unsplit model's bits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from partkit.models.capture import Capture, capture
from partkit.models.sources import load_model, parse_model
from tests import awkward_models
from tests.split_run import profile_of, reference, run_split, same_bits, stages_cut_at

STRUCTURES = [f"py:tests.awkward_models:{factory.__name__}" for factory in awkward_models.ALL]


def possible_cuts(captured: Capture) -> list[dict[str, int]]:
    """Every cut in two that parts no group."""
    profile = profile_of(captured)
    positions = range(1, sum(not node.free for node in profile.nodes))
    cuts = [stages_cut_at(profile, position) for position in positions]
    return [stage_by_node for stage_by_node in cuts if stage_by_node is not None]


@pytest.mark.parametrize("source", [*STRUCTURES, "py:tests.sample_models:skips", "bert-tiny", "llama-tiny"])
def test_every_structure_cut_at_every_operation_gives_the_same_bits(source: str) -> None:
    loaded = load_model(parse_model(source, seq=None if source.startswith("py:") else 12))
    captured = capture(loaded)
    expected = reference(loaded)
    cuts = possible_cuts(captured)
    assert cuts
    for stage_by_node in cuts:
        found = run_split(loaded, captured, stage_by_node, 2)
        last = [name for name, stage in stage_by_node.items() if stage == 0][-1]
        assert same_bits(found, expected), f"cut after {last}"


@pytest.mark.parametrize("name", ["rows_where_true", "sparse_experts"])
def test_sizes_that_depend_on_data_may_differ_from_those_at_capture(name: str) -> None:
    loaded = load_model(parse_model(f"py:tests.awkward_models:{name}"))
    captured = capture(loaded)
    cuts = possible_cuts(captured)
    assert cuts
    for rows in (torch.ones(4, 6), -torch.ones(4, 6), torch.randn(4, 6)):
        other = replace(loaded, args=(rows,))
        expected = reference(other)
        for stage_by_node in cuts:
            assert same_bits(run_split(other, captured, stage_by_node, 2), expected)


def mixtral(folder: Path) -> str:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 32}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "num_local_experts": 3, "use_cache": False}
    config = {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "max_position_embeddings": 32}
    (folder / "config.json").write_text(json.dumps(config | sizes | heads), encoding="utf-8")
    return f"hf:{folder}"


@pytest.mark.nightly
def test_mixtral_cut_at_every_operation_gives_the_same_bits(tmp_path: Path) -> None:
    loaded = load_model(parse_model(mixtral(tmp_path), seq=8))
    captured = capture(loaded)
    expected = reference(loaded)
    cuts = possible_cuts(captured)
    assert len(cuts) > 40
    for stage_by_node in cuts:
        assert same_bits(run_split(loaded, captured, stage_by_node, 2), expected)
