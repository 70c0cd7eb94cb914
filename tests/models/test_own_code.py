"""What lies in the working folder stands in for nothing that is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from partkit.data.job import LinksJob, ProfileJob
from partkit.data.model import ModelSpec
from partkit.data.orders import CaptureModel, DescribeEnvironment
from partkit.executors import executor_info
from partkit.executors.info import class_of
from partkit.models.sources.python_factory import find_factory
from partkit.ranks.group import RankGroup

RUN = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a module in it for each of several that partkit, torch and Python import."""
    for name in ("random", "safetensors", "tabnanny", "typer", "pydantic", "numpy", "torch", "transformers"):
        (tmp_path / f"{name}.py").write_text(RUN)
    (tmp_path / "mine.py").write_text(
        "import tabnanny, torch\n"
        "def net():\n    return torch.nn.Linear(2, 2), (torch.ones(1, 2),)\n"
        "class Executor:\n    standard = tabnanny.__file__\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    for name in ("mine", "tabnanny"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield tmp_path
    sys.modules.pop("mine", None)
    assert not (tmp_path / "ran").exists(), "a module of the working folder stood in for an installed one"


def test_modules_beside_a_plan_are_not_imported_by_ranks(folder: Path) -> None:
    with RankGroup(LinksJob()) as group:
        group.call(DescribeEnvironment())
    job = ProfileJob(model=ModelSpec(source="py:mine:net"), allow_code=True)
    with RankGroup(job) as group:  # with consent the folder is looked in, and last
        group.call(CaptureModel())


def test_with_consent_the_working_folder_is_looked_in_last(folder: Path) -> None:
    assert find_factory("mine:net")()[0].in_features == 2
    assert sys.path[-1] == str(folder)
    assert Path(sys.modules["tabnanny"].__file__ or "").parent != folder


def test_an_executor_of_the_user_s_own_is_found_there_too(folder: Path) -> None:
    assert class_of(executor_info("mine:Executor")).standard.startswith(sys.base_prefix)  # type: ignore[attr-defined]
    assert sys.path[-1] == str(folder)
    sys.path.remove(str(folder))
    class_of(executor_info("single"))
    assert str(folder) not in sys.path


def test_python_m_does_not_look_there(folder: Path) -> None:
    paths = os.pathsep.join(path for path in sys.path if Path(path) != folder)
    told = subprocess.run(
        [sys.executable, "-m", "partkit_cli", "models", "--quiet"],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert "bert-tiny" in told.stdout
