"""The ways that ARCHITECTURE.md tells are ways through code that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def hops(title: str) -> list[tuple[str, str]]:
    """File and function of each numbered line under a heading that begins so."""
    section = TEXT.partition(f"## {title}")[2].partition("\n## ")[0]
    return re.findall(r"^\d+\. `([\w/]+\.py)`: `([\w.]+)`", section, flags=re.MULTILINE)


def names_in(file: Path) -> set[str]:
    """Functions, classes and methods (as Class.method) that a file defines."""
    names = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return names


@pytest.mark.parametrize("title", ["A model's way", "A plan's way"])
def test_a_way_has_at_most_twelve_hops_and_each_is_there(title: str) -> None:
    found = hops(title)
    assert 6 <= len(found) <= 12
    missing = [(file, name) for file, name in found if name not in names_in(ROOT / file)]
    assert missing == []


def test_every_room_has_its_line_and_no_other_is_named() -> None:
    table = TEXT.partition("## Eleven rooms")[2].partition("\n## ")[0]
    named = {name for row in re.findall(r"^\| (`[^|]+`) \|", table, flags=re.MULTILINE) for name in row.split(", ")}
    folders = {f"`{path.name}`" for path in (ROOT / "partkit").iterdir() if (path / "__init__.py").exists()}
    assert named == folders | {"`cli/partkit_cli`"}


def test_every_file_that_is_named_with_its_folder_is_there() -> None:
    named = set(re.findall(r"`((?:\w+/)+\w+\.py)`", TEXT))
    bases = (ROOT, ROOT / "partkit")
    assert sorted(name for name in named if not any((base / name).exists() for base in bases)) == []
