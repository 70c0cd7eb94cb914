from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys

import pytest
import typer
from rich.console import Console

from partkit.data.result import Comparison, Row
from partkit.errors import UsageError
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


ROW, *_ = Comparison.load(GOLDEN / "comparison.v1.json").rows


def drawn(*told, fails=False):
    """All that a terminal was sent."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with contextlib.suppress(ZeroDivisionError), progress_bars(console) as progress:
        for label, done, total in told:
            progress(label, done, total)
        if fails:
            raise ZeroDivisionError
    return screen.getvalue()


def test_a_finished_step_is_a_tick_with_its_duration():
    sent = drawn(("Capturing net", 0, 0), ("Profiling nodes", 0, 273), ("Profiling nodes", 273, 273))
    ticks = re.findall(r"✓ [^\r\n]*", sent)
    assert [re.sub(r"[0-9.]+ (ms|µs|s|ns)", "TIME", tick) for tick in ticks] == [
        "✓ Capturing net  TIME",
        "✓ Profiling nodes  TIME",
    ]


def test_a_step_that_did_not_end_has_no_tick():
    assert re.findall(r"✓ [^\r\n]*", drawn(("Loading stages", 0, 0), fails=True)) == []


def test_a_running_step_says_how_much_is_done_how_fast_and_of_seconds_only_how_many(monkeypatch):
    now = iter([0.0, 2.0, 2.0, 5.0, 5.0, 9.0, 9.0])
    monkeypatch.setattr("partkit_cli.bars.time.monotonic", lambda: next(now))
    with progress_bars(Console(file=io.StringIO(), force_terminal=True, width=100)) as progress:
        shown = []
        for label, done, total in (("Running items", 0, 0), ("Running items", 1000, 4000), ("Measuring, fast", 3, 10)):
            progress(label, done, total)
            shown.append(progress._bars.tasks[-1].fields["counts"])
    assert shown == ["", "1,000 of 4,000 · 500/s", "3 of 10 s"]


@pytest.mark.parametrize("width", [40, 60, 100])
def test_at_every_width_figures_are_whole_and_no_line_is_cut(width):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, color_system=None)
    with progress_bars(console) as progress:
        progress("Loading stages", 393_000_000, 1_570_000_000)
        progress._bars.refresh()
        progress("Comparing · transformers-pp, round 2 of 5", 12, 35)
        progress.row(ROW, 1, 5)
        progress._bars.refresh()
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).replace("\r", "\n").split("\n")
    assert max(map(len, lines)) <= width
    shown = "\n".join(lines)
    for figure in ("393 MB of 1.57 GB", "12 of 35", "pipeline: 2,302 samples/s so far", "✓ Loading stages"):
        assert figure in shown
    assert ("━" in shown) == (width == 100)


def test_the_part_of_a_step_that_is_under_way_begins_no_step_of_its_own():
    screen = io.StringIO()
    with progress_bars(Console(file=screen, force_terminal=True, width=100)) as progress:
        for label in ("Loading executors · fsdp", "Loading executors · tp", "Comparing · tp"):
            progress(label, 0, 2)
            assert [task.description for task in progress._bars.tasks] == [label]
    ticks = [tick.partition("  ")[0] for tick in re.findall(r"✓ [^\r\n]*", screen.getvalue())]
    assert ticks == ["✓ Loading executors", "✓ Comparing"]


def test_elsewhere_a_comparison_tells_who_takes_no_part_and_each_round(capsys):
    absent = Row(executor="deepspeed", status="unsupported", reason="it is not installed")
    with Output().progress() as listener:
        assert listener is not None
        listener("Loading executors · deepspeed", 0, 2)
        listener.row(absent, 0, 2)
        for number in (1, 2):
            listener.row(ROW, number, 2)
            listener.row(ROW.model_copy(update={"executor": "single", "samples_per_s": 3.2}), number, 2)
    assert capsys.readouterr().err.splitlines() == [
        "Loading executors",
        "deepspeed unsupported: it is not installed",
        "round 1 of 2: pipeline 2,302, single 3.2 samples/s so far",
    ]


def test_what_is_waited_for_shows_on_a_terminal_alone(capsys):
    with Output().waiting("Planning 7 nodes"):
        pass
    assert capsys.readouterr().err == ""


SHOW = f"{sys.executable} -m partkit_cli show -q {GOLDEN / 'cluster.v1.json'}"


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("SHOW --json | true", 141, ""),
        ("SHOW >&-", 0, ""),
        (
            "SHOW --json >&-",
            3,
            "partkit: standard output is closed, and --json prints a document there; send it to a file with > FILE\n",
        ),
        (
            "SHOW > /dev/full",
            3,
            "partkit: standard output cannot be written: No space left on device; send it elsewhere, or make room\n",
        ),
        ("SHOW-it 2>&- <&-", 2, ""),
        ("SHOW-it 2>/dev/full", 2, ""),
    ],
)
def test_a_standard_stream_that_is_closed_full_or_unread_is_told_at_most_in_a_sentence(command, code, said):
    told = subprocess.run(
        ["bash", "-c", f"{command.replace('SHOW', SHOW)}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert (told.returncode, told.stdout, told.stderr) == (code, "", said)


HOSTILE = "\x1b]0;owned\x07\x9b2J[link=x]"
HARMLESS = "\\x1b]0;owned\\x07\\x9b2J[link=x]"


def test_nothing_that_is_said_reaches_the_terminal_as_an_escape_sequence(capsys):
    output = Output(verbose=True)
    output.text(HOSTILE)
    Output(as_json=True).json({"name": HOSTILE})
    output.note(HOSTILE)
    output.warning(HOSTILE)
    output.failure(UsageError(HOSTILE))
    output.failure(OSError(2, HOSTILE, HOSTILE))
    output.usage_error(typer.BadParameter(HOSTILE))
    with output.progress() as progress:
        assert progress is not None
        progress(HOSTILE, 0, 1)
    screen = io.StringIO()
    with progress_bars(Console(file=screen, width=80)) as progress:
        progress(HOSTILE, 1, 1)
    told = capsys.readouterr()
    assert told.out == f'{HARMLESS}\n{{\n  "name": "\\u001b]0;owned\\u0007\\u009b2J[link=x]"\n}}\n'
    assert told.err.count(HARMLESS) == 10
    assert HARMLESS in screen.getvalue()
    assert not set(told.err + screen.getvalue()) & set("\x1b\x07\x9b")
