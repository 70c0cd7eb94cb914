"""Analytic profiles: FLOPs by hand, bytes by hand, and nothing measured."""

from pathlib import Path

import pytest
import torch

from partkit.data.cache import find_profile
from partkit.errors import UsageError
from partkit.models.capture import capture
from partkit.models.sources import load_model, parse_model
from partkit.profilers.analytic import Kernel, analytic_times, kernels_by_node
from partkit.profilers.nominal import NOMINAL, nominal_device
from partkit.runs.profile_model import profile_model
from tests.planned import captured_model


def bert_flop(*, hidden: int, layers: int, vocab: int, seq: int) -> int:
    """2 FLOP for each multiply-add of a masked-LM BERT: linears, attention, and the head's two matrices."""
    layer = 24 * seq * hidden**2 + 4 * seq**2 * hidden
    return layers * layer + 2 * seq * hidden**2 + 2 * seq * hidden * vocab


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("bert", {"hidden": 768, "layers": 12, "vocab": 21128}),
        ("bert-large", {"hidden": 1024, "layers": 24, "vocab": 30522}),
    ],
)
def test_the_flops_of_bert_are_those_counted_by_hand(name: str, size: dict[str, int]) -> None:
    kernels = kernels_by_node(capture(load_model(parse_model(name, seq=64))))
    assert sum(each.flop for found in kernels.values() for each in found) == bert_flop(**size, seq=64)


def test_bytes_are_operands_and_results_and_views_move_none() -> None:
    captured = captured_model("bert-tiny")  # hidden 128, sequence 128, vocabulary 21128
    kernels = kernels_by_node(captured)
    by_target = {str(captured.nodes[name].target): found for name, found in reversed(kernels.items())}
    ids, hidden, matrix = 128 * 8, 128 * 128 * 4, 128 * 128 * 4
    assert by_target["aten.embedding.default"] == (Kernel(0, ids + 2 * hidden, "float32"),)  # rows, not the table
    assert by_target["aten.linear.default"] == (Kernel(2 * 128**3, hidden + matrix + 128 * 4 + hidden, "float32"),)
    assert by_target["aten.scaled_dot_product_attention.default"] == (Kernel(4 * 128**3, 4 * hidden, "float32"),)
    assert by_target["aten.transpose.int"] == ()


def test_sizes_that_vary_are_taken_at_their_largest() -> None:
    varying = capture(load_model(parse_model("bert-tiny", dynamic=["batch", "seq"], batch=2, seq=64)))
    fixed = capture(load_model(parse_model("bert-tiny", batch=2, seq=64)))
    flops = [sum(k.flop for found in kernels_by_node(c).values() for k in found) for c in (varying, fixed)]
    assert flops == [2 * bert_flop(hidden=128, layers=2, vocab=21128, seq=64)] * 2


@pytest.mark.parametrize("name", ["items_as_numbers", "number_as_length", "rows_where_true", "attention", "recurrent"])
def test_values_known_only_at_run_time_are_counted_by_what_they_move_at_most(name: str) -> None:
    captured = captured_model(f"py:tests.awkward_models:{name}")
    times = analytic_times(captured, nominal_device("h100"))
    operations = {node.name for node in captured.graph.nodes if node.op == "call_function"}
    assert set(times) == operations - captured.free
    assert all(0 <= seconds < 1e-3 for seconds in times.values())
    assert max(times.values()) >= nominal_device("h100").kernel_s


def test_a_kernel_takes_the_slower_of_arithmetic_and_memory_and_its_overhead() -> None:
    device = nominal_device("H100")
    assert device.kernel_time_s(989e12, 3.35e12 / 2, "bfloat16") == pytest.approx(1.0 + 2e-6)
    assert device.kernel_time_s(67e12, 3.35e12 * 2, "float32") == pytest.approx(2.0 + 2e-6)
    assert device.kernel_time_s(67e12, 0, "int64") == pytest.approx(1.0 + 2e-6)  # unknown dtypes: as float32


def test_free_nodes_take_no_time() -> None:
    captured = captured_model("llama-tiny")
    times = analytic_times(captured, nominal_device("h100"))
    assert captured.free
    assert not captured.free & set(times)


def test_an_analytic_profile_says_so_and_names_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    profile = profile_model(parse_model("bert-tiny"), analytic="h100")
    assert (profile.method, profile.device.type, profile.device.name) == (
        "analytic",
        "cuda",
        "NVIDIA H100 SXM (nominal figures)",
    )
    assert profile.provenance["figures"]["citation"].startswith("NVIDIA H100 datasheet")
    assert profile.calibration.scale == 1.0
    kept = find_profile(profile.sha256)
    assert kept is not None
    assert kept.sha256 == profile.sha256
    assert profile_model(parse_model("bert-tiny"), analytic=profile.device.name).sha256 == profile.sha256


def test_no_weights_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("partkit.models.weights.seeded_tensor", lambda *_: torch.empty(0)[1])  # any reading would raise
    assert len(profile_model(parse_model("llama-7b", seq=16), analytic="h100").nodes) > 1000


def test_an_unknown_device_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError) as raised:
        nominal_device("h1000")
    assert str(raised.value) == "there are no published figures here for a device 'h1000'; did you mean h100 or v100?"
    with pytest.raises(UsageError) as raised:
        nominal_device("abacus")
    assert raised.value.hint == f"use one of {', '.join(NOMINAL)}"
