"""Sizes that vary of a program's own modules, saved programs and factories, run at several sizes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.export import Dim

from partkit.data.model import ModelSpec
from partkit.errors import FormatError, UsageError
from partkit.models.archive import archive_module
from partkit.models.capture import capture
from partkit.models.inputs import split_arguments, synthetic_inputs
from partkit.models.sources import load_model, parse_model
from partkit.runs.item_shapes import item_shapes
from partkit.stages.cut import cut
from partkit.transport.item_form import ItemForm
from tests.split_run import profile_of, run_stages, stages_cut_at


class Net(nn.Module):
    """Attention over tokens with a mask of their own length, scaled by a second input."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, tokens: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        hidden = self.embedding(tokens)
        mask = torch.ones(tokens.shape[1], tokens.shape[1]).tril()
        scores = (hidden @ hidden.transpose(1, 2)).masked_fill(mask == 0, -1e9)
        return self.down(torch.relu(self.up(torch.softmax(scores, -1) @ hidden))) * weight


def make() -> tuple[Net, tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    return Net().eval(), (torch.arange(32).reshape(4, 8), torch.rand(4, 1, 1)), {}


def spec_of(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    module, args, _ = make()
    if kind == "module":
        return archive_module(module, args, {}, folder, dynamic=("tokens.0=batch", "tokens.1=length", "weight.0=batch"))
    if kind == "py":
        own = ModuleType("own_sizes")
        own.make = make  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "own_sizes", own)
        return parse_model("py:own_sizes:make", dynamic=("batch", "tokens.1=length"))
    rows, length = Dim("rows", min=1, max=6), Dim("length", min=1, max=12)
    program = torch.export.export(module, args, dynamic_shapes=({0: rows, 1: length}, {0: rows}))
    torch.export.save(program, folder / "net.pt2")
    return parse_model(f"pt2:{folder / 'net.pt2'}", dynamic=("tokens.1=length",))


@pytest.mark.parametrize("kind", ["module", "pt2", "py"])
def test_sizes_of_own_models_vary_up_to_the_example_s(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_model(spec_of(kind, tmp_path, monkeypatch))
    captured = capture(loaded)
    assert [(each.name, each.shape, each.dynamic) for each in captured.spec.inputs] == [
        ("tokens", (4, 8), {"0": "batch", "1": "length"}),
        ("weight", (4, 1, 1), {"0": "batch"}),
    ]
    profile = profile_of(captured)
    assert max(node.output_bytes for node in profile.nodes) == 4 * 8 * 16 * 4
    stages = [cut(captured, found, 2) for place in (3, 6, 9) if (found := stages_cut_at(profile, place)) is not None]
    assert stages
    module = make()[0]
    for sizes in ({"batch": 4, "length": 8}, {"batch": 1, "length": 3}, {"batch": 3, "length": 1}):
        tensors = synthetic_inputs(loaded.spec.resized(sizes), 1)
        args, kwargs = split_arguments(loaded, tensors)
        with torch.no_grad():
            expected = module(**tensors)
        for each in stages:
            (output,) = run_stages(replace(loaded, args=args, kwargs=kwargs), captured, each, sizes)
            assert torch.equal(output, expected), sizes


@pytest.mark.parametrize(
    ("dynamic", "message"),
    [
        (
            ("mask.0=batch",),
            "--dynamic mask.0=batch names no dimension of the Net; its inputs are tokens of 2 dimensions, weight of 3 "
            "dimensions",
        ),
        (
            ("weight.1=batch",),
            "--dynamic lets batch vary up to the example's size, which is 1; give the largest size that the plan must "
            "serve, with a larger example or --input",
        ),
        (
            ("weight.1=width",),
            "--dynamic lets width vary up to the example's size, which is 1; give the largest size that the plan must "
            "serve, with a larger example or --input",
        ),
        (
            ("tokens.0=size", "tokens.1=size"),
            "--dynamic size needs one size, and the inputs of the Net have [4, 8]; give their shapes with --input so "
            "that they agree",
        ),
    ],
)
def test_a_size_that_cannot_vary_is_told(tmp_path: Path, dynamic: tuple[str, ...], message: str) -> None:
    module, args, _ = make()
    with pytest.raises(UsageError) as raised:
        archive_module(module, args, {}, tmp_path, dynamic=dynamic)
    assert str(raised.value) == message


def test_a_saved_program_s_sizes_are_those_that_it_was_exported_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = spec_of("pt2", tmp_path, monkeypatch).source
    with pytest.raises(UsageError) as raised:
        parse_model(source, dynamic=("batch",))
    assert str(raised.value) == (
        f"--dynamic batch can't change {source}: a saved program has the sizes that vary which it was exported with; "
        "export it with dynamic_shapes; --dynamic INPUT.DIM=NAME gives such a size a name"
    )
    with pytest.raises(UsageError) as fixed:
        load_model(parse_model(source, dynamic=("weight.1=width",)))
    assert str(fixed.value) == (
        f"--dynamic weight.1=width names a size of {source} that does not vary; "
        "export it with dynamic_shapes, or leave it out"
    )


@pytest.mark.parametrize(("rows", "least"), [(Dim.AUTO, 2), (Dim("rows", min=3, max=6), 3)])
def test_a_size_below_what_a_program_was_exported_for_is_refused_before_it_runs(
    rows: Any, least: int, tmp_path: Path
) -> None:
    module, args, _ = make()
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(module, args, dynamic_shapes=({0: rows}, {0: rows})), path)
    captured = capture(load_model(parse_model(f"pt2:{path}")))
    spec = captured.spec
    assert [(each.dynamic, each.smallest) for each in spec.inputs] == [({"0": "batch"}, {"0": least})] * 2
    assert spec.resized({"batch": least}).batch == least
    small = least - 1
    with pytest.raises(UsageError) as asked:
        spec.resized({"batch": small})
    assert str(asked.value) == (
        f"--batch {small} is out of range: {spec.source} was planned for {least} to 4; "
        f"export the program with Dim('batch', min={small}, max=4) and an example of 4"
    )
    items = {name: torch.stack([tensor[:small]] * 2) for name, tensor in zip(("tokens", "weight"), args, strict=True)}
    save_file(items, tmp_path / "items.safetensors")
    with pytest.raises(FormatError) as filed:
        item_shapes(tmp_path / "items.safetensors", spec, {})
    assert str(filed.value) == (
        f"{tmp_path / 'items.safetensors'}: tensor 'tokens' has a batch of {small}, and the plan serves {least} to 4; "
        f"export the program with Dim('batch', min={small}, max=4) and an example of 4"
    )
    with pytest.raises(UsageError) as given:
        ItemForm(captured).bind([tensor[:small] for tensor in args], 7)
    assert str(given.value) == (
        f"item 7: input 'tokens' has a batch of {small}, and the plan serves {least} to 4; "
        f"pad it, or export the program with Dim('batch', min={small})"
    )
