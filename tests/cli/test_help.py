from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

import pytest

COMMANDS = ("profile", "plan", "run", "compare", "show", "validate", "models")
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
