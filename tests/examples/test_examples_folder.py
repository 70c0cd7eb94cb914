"""Every script in ``examples/`` is run as a person would, here and not in a process that imports torch once more."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SAID = {
    "compare_and_report": ["pipeline   ok ", "replicas   ok ", "wrote "],
    "own_checkpoint": ["stage 0: ", "model.embed_tokens", "outputs are the unsplit model's: True"],
    "own_data": ["100 outputs, at most "],
    "own_module": ["stage 1: ", "above the proved bound", "outputs are the module's: True"],
    "serve": ["40 of 40 answers to threads are right", "20 of 20 answers to tasks are right"],
}
MODEL = "net"
"""The module that the others import."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """One for all, as a person has: what the first has measured the others use."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SAID))
def test_an_example_runs_and_says_what_it_promises(name, cache, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(sys, "argv", [f"{name}.py"])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    said = capfd.readouterr().out
    assert [text for text in SAID[name] if text not in said] == [], said
    if name == "own_data":
        assert float(said.split("at most ")[1].split()[0]) < 1e-4
    if name == "compare_and_report":
        assert {path.name for path in tmp_path.iterdir()} == {"comparison.json", "plan.json", "report.html"}


def test_every_script_is_run_and_says_what_it_is_for():
    scripts = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in EXAMPLES.glob("*.py")}
    assert set(scripts) == {*SAID, MODEL}
    assert all(len(ast.get_docstring(tree) or "") > 50 for tree in scripts.values())
