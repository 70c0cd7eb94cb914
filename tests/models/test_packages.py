"""Optional packages that are absent or broken are told with the cause; torchvision is repaired whoever imports it."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from partkit.errors import MachineError
from partkit.models.packages import import_package

TORCHVISION = """
import torch

@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold):
    return dets

@torch.library.register_fake("torchvision::qnms")
def qnms(dets, scores, iou_threshold):
    return dets

WORKS = True
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules hide all others of their names for the test."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for path in tmp_path.iterdir():
        sys.modules.pop(path.stem, None)


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="the real one is here")
def test_a_torchvision_without_its_operators_can_be_imported_by_anybody(packages: Path) -> None:
    (packages / "torchvision.py").write_text(TORCHVISION)
    with pytest.raises(RuntimeError, match="operator torchvision::nms does not exist"):
        exec(TORCHVISION)
    import torchvision

    assert torchvision.WORKS
    assert torchvision.__spec__.loader.get_source("torchvision") == TORCHVISION
    assert str(torch.ops.torchvision.nms.default._schema).endswith(
        "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    )


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="the real one is here")
def test_another_fault_of_torchvision_stays_as_it_is(packages: Path) -> None:
    (packages / "torchvision.py").write_text("raise RuntimeError('compiled for CUDA 12.6')")
    with pytest.raises(RuntimeError, match=r"^compiled for CUDA 12\.6$"):
        importlib.import_module("torchvision")


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        (None, "it isn't installed"),
        ("import numpy_of_long_ago", "ModuleNotFoundError: No module named 'numpy_of_long_ago'"),
        (
            "raise ValueError('numpy.dtype size changed, may indicate binary incompatibility.\\nExpected 96')",
            "ValueError: numpy.dtype size changed, may indicate binary incompatibility.",
        ),
        (
            "try:\n    raise OSError('libcudart.so.12: cannot open shared object file')\n"
            "except OSError as error:\n    raise RuntimeError('failed to import; see above') from error",
            "OSError: libcudart.so.12: cannot open shared object file",
        ),
        (
            "import torch\ntorch.no_such_function()",
            "AttributeError: module 'torch' has no attribute 'no_such_function'",
        ),
    ],
)
def test_a_package_that_cannot_be_imported_is_told_with_the_first_cause(
    source: str | None, cause: str, packages: Path
) -> None:
    if source is not None:
        (packages / "fine_package.py").write_text(source)
    with pytest.raises(MachineError) as raised:
        import_package("fine_package", install="pip install fine-package")
    assert raised.value.message == f"fine_package can't be imported ({cause})"
    assert raised.value.hint == (
        "pip install fine-package"
        if source is None
        else """'python -c "import fine_package"' shows where: it, or what it imports, is broken, made for other """
        "versions, or hidden by a file of the same name"
    )


def test_naming_models_imports_neither_torchvision_nor_torch() -> None:
    program = "import sys, partkit.models; print(sorted({'torch', 'torchvision'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"
