"""Stages whose operations give their results in other memory orders than at capture, as another device's kernels do."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import fx
from torch.utils import _pytree as pytree

from partkit.models.capture import Capture, capture
from partkit.models.sources import load_model, parse_model
from partkit.models.sources.loaded import LoadedModel
from partkit.stages.cut import cut, uncut
from tests import awkward_models, layout_models
from tests.split_run import profile_of, reference, run_stages, stages_cut_at

SOURCES = [
    *(f"py:tests.awkward_models:{factory.__name__}" for factory in awkward_models.ALL),
    *(f"py:tests.layout_models:{factory.__name__}" for factory in layout_models.ALL),
    "llama-tiny",
]


def turned(value: torch.Tensor) -> torch.Tensor:
    """Last dimension first in memory."""
    order = list(range(value.dim()))[::-1]
    return value.permute(order).contiguous().permute(order)


def channels_last(value: torch.Tensor) -> torch.Tensor:
    """Dimension 1 last in memory."""
    return value.movedim(1, -1).contiguous().movedim(-1, 1) if value.dim() > 2 else turned(value)


def gapped(value: torch.Tensor) -> torch.Tensor:
    """In rows with unused memory before, between and behind them."""
    if value.dim() == 0:
        return value
    wide = value.new_zeros((*value.shape[:-1], value.shape[-1] + 3))
    inner = wide[..., 1 : 1 + value.shape[-1]]
    return inner.copy_(value)


def spread(value: torch.Tensor) -> torch.Tensor:
    """One number for all of a dimension of size 1, as an expanded value has."""
    return value.contiguous().as_strided(
        value.shape,
        [0 if size == 1 else step for size, step in zip(value.shape, value.contiguous().stride(), strict=True)],
    )


ORDERS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "contiguous": torch.Tensor.contiguous,
    "turned": turned,
    "channels last": channels_last,
    "gapped": gapped,
    "spread": spread,
}


class OtherOrders(fx.Interpreter):
    """Runs a stage and gives every new tensor another memory order; views stay views of what they look at."""

    def __init__(self, module: fx.GraphModule, order: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__(module)
        self._order = order

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.op != "call_function" or n.target is torch.ops.aten.as_strided.default:
            return value
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        seen = {leaf.untyped_storage().data_ptr() for leaf in _tensors((args, kwargs))}
        is_new = all(leaf.untyped_storage().data_ptr() not in seen for leaf in _tensors(value))
        # what lays its result out in a given order does so on every device
        if not is_new or n.target in (torch.ops.aten.contiguous.default, torch.ops.aten.clone.default):
            return value
        return pytree.tree_map_only(torch.Tensor, lambda leaf: self._order(leaf), value)


def in_other_orders(order: Callable[[torch.Tensor], torch.Tensor], module: fx.GraphModule) -> Callable[..., Any]:
    return OtherOrders(module, order).run


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor))


def agree(found: list[Any], expected: list[Any]) -> None:
    """Equal but for the order in which kernels sum, which follows the memory order."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, torch.Tensor):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, equal_nan=True)
        else:
            assert one == other


def check(loaded: LoadedModel) -> Capture:
    """Whole and cut in the middle, in every memory order; returns the capture."""
    captured, expected = capture(loaded), reference(loaded)
    for stages in ((uncut(captured),), cut(captured, middle_cut(captured), 2)):
        for order in ORDERS.values():
            agree(run_stages(loaded, captured, stages, around=functools.partial(in_other_orders, order)), expected)
    return captured


def middle_cut(captured: Capture) -> dict[str, int]:
    """The cut nearest the middle that parts no group."""
    profile = profile_of(captured)
    count = sum(not node.free for node in profile.nodes)
    positions = sorted(range(1, count), key=lambda position: abs(position - count / 2))
    return next(cut for cut in (stages_cut_at(profile, position) for position in positions) if cut is not None)


@pytest.mark.parametrize("source", SOURCES)
def test_results_in_any_memory_order_give_the_unsplit_models_outputs(source: str) -> None:
    check(load_model(parse_model(source)))


def test_t5_in_any_memory_order(tmp_path: Path) -> None:
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": 32}
    named = {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "decoder_start_token_id": 0}
    (tmp_path / "config.json").write_text(json.dumps(sizes | named), encoding="utf-8")
    check(load_model(parse_model(f"hf:{tmp_path}", seq=8)))


@pytest.mark.filterwarnings("ignore")  # of torch about itself
def test_a_program_that_was_taken_apart_for_one_device_runs_on_any(tmp_path: Path) -> None:
    """Decomposed by somebody else: an attention that only the CPU has, a group norm that wants one memory order."""
    program = torch.export.export(TakenApart(), (torch.randn(1, 4, 6, 8),))
    torch.export.save(program, tmp_path / "net.pt2")
    loaded = load_model(parse_model(f"pt2:{tmp_path / 'net.pt2'}"))
    captured = check(loaded)
    attention, norm = torch.ops.aten.scaled_dot_product_attention.default, torch.ops.aten.native_group_norm.default
    targets = [node.target for node in uncut(captured).graph.nodes if node.op == "call_function"]
    assert targets.count(attention) == 1
    assert torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default not in targets
    assert targets[targets.index(norm) - 1] is torch.ops.aten.contiguous.default


class TakenApart(torch.nn.Module):
    def forward(self, heads: torch.Tensor) -> torch.Tensor:
        seen = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(heads, heads, heads, is_causal=True)[0]
        return torch.ops.aten.native_group_norm(torch.relu(seen), None, None, 1, 4, 48, 2, 1e-5)[0]


def test_a_window_on_memory_of_an_input_that_shares_its_memory_with_others() -> None:
    """An edge's buffer holds all its values one behind the other, and the window's offset is from its own beginning."""
    loaded = load_model(parse_model("py:tests.layout_models:window_on_an_input"))
    captured = capture(loaded)
    stage_by_node = {name: int(captured.nodes[name].op != "placeholder") for name in captured.placed}
    agree(run_stages(loaded, captured, cut(captured, stage_by_node, 2)), reference(loaded))
