"""What people see at a terminal: narrow ones, and colour."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import pytest

from partkit.data.files import DOCUMENT_BY_KIND
from partkit_cli.main import app
from partkit_cli.streams import columns_of, is_coloured

from .conftest import GOLDEN
from .terminal import shown

WIDE = 250
FIGURE = re.compile(r"\d[\d.,]*\d|\d")
COMMANDS = [
    *(("show", f"{kind}.json") for kind in DOCUMENT_BY_KIND),
    ("models",),
    ("diff", "run.json", "run.json"),
    ("show", "none.json"),
    ("plan", "bert-tiny", "--cluster", "4x-nvlink", "--stages", "5"),
    ("help",),
    *(("help", command.name or command.callback.__name__.rstrip("_")) for command in app.registered_commands),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("files")
    for kind in DOCUMENT_BY_KIND:
        shutil.copy(GOLDEN / f"{kind}.v1.json", made / f"{kind}.json")
    return made


@pytest.fixture(scope="module")
def wide(folder) -> list[str]:
    return shown(WIDE, *COMMANDS, folder=folder, environment={"NO_COLOR": "1"})


@pytest.mark.parametrize("columns", [40, 60])
def test_in_a_narrow_terminal_no_line_is_cut_and_no_figure_broken(columns, folder, wide):
    narrow = shown(columns, *COMMANDS, folder=folder, environment={"NO_COLOR": "1"})
    assert len(narrow) == len(wide) == len(COMMANDS)
    for command, text, whole in zip(COMMANDS, narrow, wide, strict=True):
        assert max(map(len, text.splitlines())) <= columns, command
        assert "\x1b" not in text
        missing = set(FIGURE.findall(whole)) - set(FIGURE.findall(text))
        assert not missing, (command, missing)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals_whose_user_did_not_ask_for_none(monkeypatch, environment, coloured):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_coloured(Terminal()) is coloured
    assert not is_coloured(io.StringIO())


@pytest.mark.parametrize(("told", "columns"), [("40", 40), ("", None), ("0", None), ("many", None)])
def test_the_width_is_what_the_environment_says_where_that_is_a_number(monkeypatch, told, columns):
    monkeypatch.setenv("COLUMNS", told)
    assert columns_of(Terminal()) == columns
    assert columns_of(io.StringIO()) is None
