"""What README and docs tell to type: command lines are understood, and run where one machine can; Python compiles."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
from pathlib import Path

import pytest
from typer.main import get_command

from partkit_cli.main import app
from tests.cli.test_examples import (  # noqa: F401 - fixtures
    _name_as_examples_do,
    arguments_of,
    folder,
    nothing_measured,
    typed,
)

from .pages import ROOT, blocks, pages, python_blocks, shell_blocks

SMALL = {"bert": "bert-tiny", "llama-7b": "llama-tiny", "all=6GB": "all=60MB"}
"""The smallest model of the family for those that the pages name, and a cap that it fits."""
OTHER_PROGRAMS = {"git", "cd", "python", "python3", ".", "pip", "make", "export", "srun", "openssl", "bash"}
LAUNCHED = "torchrun "
KNOWN_LANGUAGES = {"sh", "", "python", "{literalinclude}", "{toctree}", "{eval-rst}", "{include}", "text", "json"}
WHOLE_PROGRAMS = {"docs/tutorial.md", "docs/reference/python.md"}
"""Pages whose Python is no fragment: it is run in its turn."""


def commands(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith(("partkit ", LAUNCHED))]


def test_every_block_is_of_a_kind_that_is_tried_here():
    assert {re.match(r"\{?[\w-]*\}?", block.language)[0] for block in blocks()} <= KNOWN_LANGUAGES
    assert len(shell_blocks()) > 20
    assert len(python_blocks()) > 2


@pytest.mark.parametrize("block", shell_blocks(), ids=lambda block: f"{block.page}: {block.lines[0]}")
def test_every_command_line_is_understood(block):
    for line in block.lines:
        if line not in commands([line]):
            assert line.split()[0] in OTHER_PROGRAMS, line
        elif not line.startswith("partkit --") and "..." not in line:
            name, *arguments = arguments_of(line)
            group = get_command(app)
            command = group.get_command(group.make_context("partkit", [name]), name)
            assert command is not None, line
            command.make_context(name, arguments)


@pytest.mark.slow
@pytest.mark.parametrize("page", pages(), ids=lambda path: path.name)
def test_the_command_lines_of_a_page_run_one_after_the_other(page, folder, nothing_measured, capfd):  # noqa: F811
    shutil.copy(ROOT / "examples" / "net.py", "net.py")
    own = str(page.relative_to(ROOT))
    for block in (each for each in blocks() if each.page == own):
        if block.language == "python" and own in WHOLE_PROGRAMS:
            exec(compile(block.text, own, "exec"), {})
        for line in commands(block.lines if block in shell_blocks() else []):
            if not is_form(line):
                code = typed(*[SMALL.get(word, word) for word in arguments_of(line)])
                assert code == 0, f"{line}: {capfd.readouterr().err}"
                _name_as_examples_do()


def is_form(line: str) -> bool:
    """True of what only shows the form of a command line, and of what needs a launcher."""
    return line.startswith((LAUNCHED, "partkit --")) or re.search(r"\b(FILE|PLAN|BEFORE|MODEL)\b", line) is not None


@pytest.mark.parametrize("block", python_blocks(), ids=lambda block: block.page)
def test_python_compiles_and_what_it_takes_from_partkit_is_there(block):
    tree = compile(block.text, block.page, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("partkit"):
            assert all(hasattr(importlib.import_module(node.module), name.name) for name in node.names)
        is_ours = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "partkit"
        assert not is_ours or hasattr(importlib.import_module("partkit"), node.attr), ast.unparse(node)


def test_every_file_that_a_page_shows_or_links_is_there():
    for path in pages():
        text = path.read_text(encoding="utf-8")
        named = re.findall(r"^```\{literalinclude\} (\S+)", text, re.MULTILINE)
        named += [link for link in re.findall(r"\]\(([^)#\s]+)\)", text) if "://" not in link]
        made = {"pipeline.svg", "period.svg", "downsets.svg", "commands.md", "formats.md"}
        assert [each for each in named if Path(each).name not in made and not (path.parent / each).exists()] == [], path
