"""Models that cannot be captured: the error says where, what and what to try."""

from __future__ import annotations

import linecache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from partkit.data.model import InputSpec, ModelSpec
from partkit.errors import CaptureError
from partkit.models.capture import capture
from partkit.models.sources.loaded import LoadedModel
from partkit.models.weights import ModuleWeights


class BranchesOnData(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            x = torch.relu(x)
        return x


class CountsRows(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[: int(x.sum())]


class LeavesTorch(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * float(x.numpy().mean())


class Raises(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ValueError("this model wants three inputs\nand more of them")


class FixesItsBatch(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(2, 4, 8) * 2


def loaded(module: nn.Module, **dynamic: str) -> LoadedModel:
    x = torch.ones(4, 16)
    spec = ModelSpec(
        source="py:mine:net", inputs=(InputSpec(name="x", shape=(4, 16), dtype="float32", dynamic=dynamic),)
    )
    return LoadedModel(spec, module.eval(), (x,), {}, ModuleWeights({}))


def line_of(text: str) -> int:
    lines = linecache.getlines(__file__)
    return next(number for number, line in enumerate(lines, 1) if line.strip() == text)


DATA = "Python asks for a value that only the data decide"
CHOOSE = "choose with torch.where or torch.cond instead of Python's if, while or int()"


@pytest.mark.parametrize(
    ("module", "code", "reason", "advice"),
    [
        (BranchesOnData(), "if x.sum() > 0:", DATA, CHOOSE),
        (CountsRows(), "return x[: int(x.sum())]", DATA, CHOOSE),
        (
            LeavesTorch(),
            "return x * float(x.numpy().mean())",
            "RuntimeError: .numpy() is not supported for tensor subclasses.",
            "keep the computation in torch operations",
        ),
        (
            Raises(),
            'raise ValueError("this model wants three inputs\\nand more of them")',
            "ValueError: this model wants three inputs",
            "change that line, or leave it out of forward",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_the_error_names_the_line_and_the_reason_and_what_to_try(
    module: nn.Module, code: str, reason: str, advice: str
) -> None:
    with pytest.raises(CaptureError) as raised:
        capture(loaded(module))
    assert raised.value.message == (
        f"torch.export cannot capture py:mine:net at {__file__}:{line_of(code)} in forward ({code}): {reason}"
    )
    assert raised.value.hint == (
        f"{advice}; 'partkit compare py:mine:net --with single,dispatch' runs it without capture"
    )


@pytest.mark.parametrize("folder", ["partkit", "torch"])
def test_a_model_in_a_folder_named_as_a_package_is_told_with_its_line(folder: str, tmp_path: Path) -> None:
    path = tmp_path / folder / "net.py"
    path.parent.mkdir()
    path.write_text("def forward(self, x):\n    return x[: int(x.sum())]\n")
    methods: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), methods)
    with pytest.raises(CaptureError) as raised:
        capture(loaded(type("Net", (nn.Module,), {"forward": methods["forward"]})()))
    assert f" at {path}:2 in forward (return x[: int(x.sum())]): " in raised.value.message


def test_a_size_that_the_model_fixes_is_told_as_such() -> None:
    with pytest.raises(CaptureError) as raised:
        capture(loaded(FixesItsBatch(), **{"0": "batch"}))
    assert str(raised.value).startswith("torch.export cannot capture py:mine:net")
    assert raised.value.hint is not None
    assert raised.value.hint.startswith("leave --dynamic out for a size that the model's code fixes; ")


def test_a_torch_error_is_kept_as_the_cause() -> None:
    with pytest.raises(CaptureError) as raised:
        capture(loaded(Raises()))
    cause: Any = raised.value.__cause__
    assert type(cause) is ValueError
