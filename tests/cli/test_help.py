from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time

import pytest

from partkit.models.sources import DTYPES
from partkit.planners.registry import PLANNERS
from partkit.reports import RENDERERS
from partkit.reports.graph import GRAPH_FORMS
from partkit_cli import completion

COMMANDS = (
    "profile",
    "plan",
    "run",
    "compare",
    "generate",
    "report",
    "show",
    "diff",
    "validate",
    "doctor",
    "cluster",
    "models",
    "help",
)
HEAVY = ("torch", "transformers", "networkx", "numpy", "rich")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself_with_an_example_and_takes_json_quiet_and_verbose(partkit, command):
    told = partkit(command, "--help")
    assert told.code == 0
    assert f"    partkit {command}" in told.out
    for option in ("--json", "--quiet", "--verbose"):
        assert option in told.out


def test_partkit_alone_shows_its_help(partkit):
    told = partkit()
    assert told.code == 0
    assert all(f"\n  {command} " in told.out for command in COMMANDS)


def test_help_explains_a_command_as_its_help_option_does(partkit):
    assert partkit("help", "plan").out == partkit("plan", "--help").out
    assert partkit("help").out == partkit().out
    assert json.loads(partkit("help", "run", "--json").out) == {
        "kind": "help",
        "command": "run",
        "text": partkit("run", "--help").out.rstrip("\n"),
    }
    told = partkit("help", "plna")
    assert (told.code, told.err) == (2, "partkit: there is no command 'plna'; did you mean plan?\n")


def test_options_are_listed_in_groups_with_their_choices(partkit):
    text = partkit("plan", "--help").out
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Arguments:", "Options:", "Model:", "Planning:", "Machine:", "Generation:", "Terminal:"]
    assert f"--planner {'|'.join(PLANNERS)} " in text.replace("\n", " ")
    assert f"--dtype {'|'.join(DTYPES)} " in text.replace("\n", " ")
    assert f"--format {'|'.join((*RENDERERS, *GRAPH_FORMS))} " in re.sub(
        r"\|\s+", "|", partkit("show", "--help").out
    ).replace("\n", " ")
    assert partkit("plan", "--help").out.index("Terminal:") < text.index("--json") < text.index("--help")


@pytest.mark.parametrize(
    ("complete", "incomplete", "offered"),
    [
        (completion.planner_names, "o", ["orders"]),
        (completion.dtype_names, "b", ["bfloat16"]),
        (completion.task_names, "masked-l", ["masked-lm"]),
        (completion.analytic_names, "h", ["h200", "h100"]),
        (completion.executor_names, "single,fsdp", ["single,fsdp", "single,fsdp-replicated", "single,fsdp1"]),
        (completion.format_names, "m", ["markdown"]),
        (completion.format_and_graph_names, "", [*RENDERERS, *GRAPH_FORMS]),
        (completion.model_names, "bert-t", ["bert-tiny"]),
        (completion.model_names, "p", ["py:", "pt2:", "p.json", "plans/"]),
        (completion.model_names, "plans/", ["plans/a.json"]),
        (completion.plan_names, "", ["p.json", "plans/"]),
        (completion.plan_names, "plans/", ["plans/a.json"]),
        (completion.cluster_names, "8x", ["8x-pcie-gen4", "8x-nvlink", "8x-a100", "8x-h200"]),
        (completion.cluster_names, "c", ["c.json"]),
    ],
)
def test_the_shell_offers_what_may_stand_there(tmp_path, monkeypatch, complete, incomplete, offered):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plans").mkdir()
    for name in ("p.json", "c.json", "c.txt", "plans/a.json", ".p.json"):
        (tmp_path / name).write_text("")
    (tmp_path / "c.json").write_text('{"schema_version": 1, "kind": "cluster"}')
    assert complete(incomplete) == offered


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("partkit run pl", ["plans/"]),
        ("partkit plan bert-t", ["bert-tiny"]),
        ("partkit compare bert --with single,ac", ["single,accelerate"]),
        ("partkit dif", ["diff"]),
    ],
)
def test_bash_is_told_what_may_stand_there(tmp_path, typed, offered):
    (tmp_path / "plans").mkdir()
    told = subprocess.run(
        [sys.executable, "-m", "partkit_cli"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={
            **_environment(),
            "_PARTKIT_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(typed.split()) - 1),
        },
        check=False,
    )
    assert (told.stdout.split(), told.stderr) == (offered, "")


def test_the_library_s_name_starts_the_same_command():
    told = subprocess.run(
        [sys.executable, "-m", "partkit", "help", "plna"],
        capture_output=True,
        text=True,
        env=_environment(),
        check=False,
    )
    assert (told.returncode, told.stdout, told.stderr) == (
        2,
        "",
        "partkit: there is no command 'plna'; did you mean plan?\n",
    )


def test_the_version_is_one_line(partkit):
    told = partkit("--version")
    assert told.code == 0
    assert told.out.startswith("partkit ")
    assert told.out.count("\n") == 1


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from partkit_cli.main import main\n"
        "try: main(['plan', '--help'])\n"
        f"except SystemExit: print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment())
    assert told.stderr.strip() == "[]"


@pytest.mark.timed
def test_help_answers_in_under_three_tenths_of_a_second():
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "partkit_cli", "--help"], stdout=subprocess.DEVNULL, check=True, env=_environment()
        )
        seconds.append(time.perf_counter() - start)
    assert statistics.median(seconds) < 0.3


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
