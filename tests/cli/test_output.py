from __future__ import annotations

import io
import os
import subprocess
import sys

from rich.console import Console

from partkit_cli.bars import progress_bars
from partkit_cli.output import Output

from .conftest import GOLDEN


def test_progress_elsewhere_than_on_a_terminal_is_a_line_for_each_step(capsys):
    with Output().progress() as progress:
        assert progress is not None
        for done in range(3):
            progress("Profiling 2 nodes", done, 2)
        progress("Measuring links", 1, 1)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "Profiling 2 nodes\nMeasuring links\n")


def test_quiet_has_no_progress_and_no_notes_but_keeps_warnings(capsys):
    output = Output(quiet=True)
    with output.progress() as progress:
        assert progress is None
    output.note("wrote it")
    output.warning("the plan was made elsewhere")
    assert capsys.readouterr().err == "warning: the plan was made elsewhere\n"


def test_bars_end_full_and_stay():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    with progress_bars(console) as progress:
        progress("Profiling 2 nodes", 0, 2)
        progress("Profiling 2 nodes", 2, 2)
        progress("Starting ranks", 0, 0)
    last = screen.getvalue().split("\n")[-3]
    assert "Profiling 2 nodes" in last
    assert "100%" in last


def test_a_reader_that_went_away_is_no_fault(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    told = subprocess.run(
        [sys.executable, "-m", "partkit_cli", "show", str(GOLDEN / "plan.v1.json"), "--json"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    os.close(writing)
    assert (told.returncode, told.stderr) == (141, "")
