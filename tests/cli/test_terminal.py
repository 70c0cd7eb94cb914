"""What people see at a terminal: narrow ones, and colour."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from partkit.data.files import DOCUMENT_BY_KIND
from partkit_cli.main import app

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
        missing = set(FIGURE.findall(whole)) - set(FIGURE.findall(text))
        assert not missing, (command, missing)


def test_colour_is_left_out_where_nobody_wants_it(folder):
    show = ("show", "plan.json")
    (coloured,) = shown(80, show, folder=folder, environment={"NO_COLOR": ""})
    assert "\x1b[1m" in coloured
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        (plain,) = shown(80, show, folder=folder, environment=environment)
        assert "\x1b" not in plain
