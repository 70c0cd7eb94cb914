from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from partkit import errors
from partkit.data.result import RunResult
from partkit_cli.failure import StdoutLostError, exit_code, sentence

from .conftest import GOLDEN

CODES = {
    errors.UsageError("no"): 2,
    errors.FormatError("no"): 2,
    errors.MismatchError("no"): 2,
    errors.CaptureError("no"): 2,
    errors.WeightsError("no"): 2,
    errors.MachineError("no"): 3,
    errors.UnsupportedError("no"): 3,
    errors.InfeasibleError("no"): 4,
    errors.RankFailedError("no"): 5,
    KeyboardInterrupt(): 130,
    PermissionError(13, "Permission denied", "plans"): 3,
    ModuleNotFoundError("No module named 'torch'", name="torch"): 3,
    StdoutLostError(BrokenPipeError()): 141,
    StdoutLostError(OSError(28, "No space left on device")): 3,
    BrokenPipeError(32, "Broken pipe"): 3,
    AssertionError("ours"): 1,
    KeyError("ours"): 1,
}


@pytest.mark.parametrize(("error", "code"), CODES.items(), ids=lambda value: type(value).__name__)
def test_each_exception_has_its_exit_code(error, code):
    assert exit_code(error) == code


def test_every_fault_of_partkit_is_in_the_table():
    assert {type(error) for error in CODES} >= set(errors.PartkitError.__subclasses__())


def test_a_fault_of_the_user_is_told_with_its_hint():
    assert sentence(errors.UsageError("there is no model 'brt'", hint="did you mean bert")) == (
        "there is no model 'brt'; did you mean bert"
    )


def test_a_missing_package_is_told_with_its_install_command():
    error = ModuleNotFoundError("No module named 'timm.models'", name="timm.models")
    assert sentence(error) == "the package 'timm' is not installed; pip install timm"


def test_a_file_that_cannot_be_written_is_named():
    assert sentence(PermissionError(13, "Permission denied", "plans/x.json")) == (
        "plans/x.json: Permission denied; check the path, its permissions and the free space"
    )


def test_a_full_disk_under_standard_output_is_told_as_that():
    assert sentence(StdoutLostError(OSError(28, "No space left on device"))) == (
        "standard output cannot be written: No space left on device; send it elsewhere, or make room"
    )


def test_anything_else_is_said_to_be_a_fault_of_partkit():
    assert sentence(ZeroDivisionError("division by zero")) == (
        "this is a fault in partkit (ZeroDivisionError: division by zero); "
        "run the command again with --verbose for the traceback, and report it"
    )


def test_without_verbose_no_traceback_is_shown(partkit, library):
    library.profile = ZeroDivisionError("division by zero")
    told = partkit("profile", "bert-tiny", "-q")
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith("partkit: this is a fault in partkit (ZeroDivisionError")
    assert told.err.count("\n") == 1


def test_verbose_shows_the_traceback_before_the_sentence(partkit, library):
    library.profile = errors.CaptureError("bert-tiny cannot be exported")
    told = partkit("profile", "bert-tiny", "-q", "--verbose")
    assert told.code == 2
    assert told.err.startswith("Traceback (most recent call last):\n")
    assert told.err.endswith("\npartkit: bert-tiny cannot be exported\n")


@pytest.mark.parametrize(
    ("error", "code", "message", "hint"),
    [
        (errors.InfeasibleError("9 stages are too many", hint="ask for 7"), 4, "9 stages are too many", "ask for 7"),
        (errors.RankFailedError("rank 1 died"), 5, "rank 1 died", None),
        (KeyboardInterrupt(), 130, "interrupted", None),
        (
            ZeroDivisionError("division by zero"),
            1,
            "this is a fault in partkit (ZeroDivisionError: division by zero)",
            "run the command again with --verbose for the traceback, and report it",
        ),
    ],
)
def test_json_tells_an_error_as_its_one_document_too(partkit, library, error, code, message, hint):
    library.plan = error
    told = partkit("plan", "bert-tiny", "-q", "--json")
    assert told.code == code
    assert json.loads(told.out) == {"kind": "error", "code": code, "message": message, "hint": hint}
    assert told.err == f"partkit: {message}{'' if hint is None else f'; {hint}'}\n"


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["plan", "--json"], "Missing argument 'MODEL'", "see 'partkit plan --help'"),
        (["--json", "plna"], "No such option: --json (Possible options: --version)", "see 'partkit --help'"),
        (["plna", "--json"], "No such command 'plna'. Did you mean 'plan'", "see 'partkit --help'"),
        (
            ["run", "x", "--json", "--items", "0"],
            "Invalid value for '--items': Input should be greater than or equal to 1",
            "see 'partkit run --help'",
        ),
    ],
)
def test_json_tells_a_wrong_command_line_as_its_one_document_too(partkit, arguments, message, hint):
    told = partkit(*arguments)
    assert told.code == 2
    assert json.loads(told.out) == {"kind": "error", "code": 2, "message": message, "hint": hint}


def test_a_document_that_was_told_is_not_followed_by_another(partkit, library, monkeypatch):
    monkeypatch.setattr(RunResult, "save", lambda self, path: (_ for _ in ()).throw(OSError(28, "No space", str(path))))
    told = partkit("run", str(GOLDEN / "plan.v1.json"), "-q", "--json", "-o", "run.json")
    assert json.loads(told.out) == library.run.to_data()
    assert (told.code, told.err) == (
        3,
        "partkit: run.json: No space; check the path, its permissions and the free space\n",
    )


def test_of_a_launcher_s_ranks_only_the_first_tells_the_error_document(partkit, library, monkeypatch):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    library.run = errors.RankFailedError("rank 1 died")
    assert partkit("run", str(GOLDEN / "plan.v1.json"), "-q", "--json").out == ""


def test_ctrl_c_while_options_are_read_is_told_as_later(partkit, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("partkit_cli.registration.GroupedCommand.parse_args", interrupted)
    told = partkit("plan", "bert-tiny", "--json")
    assert (told.code, told.err) == (130, "partkit: interrupted\n")
    assert json.loads(told.out) == {"kind": "error", "code": 130, "message": "interrupted", "hint": None}
    told = partkit("plan", "bert-tiny")
    assert (told.code, told.out, told.err) == (130, "", "partkit: interrupted\n")


@pytest.mark.parametrize("arguments", [["--help"], ["plan", "--help"]])
def test_help_into_a_pipe_that_nobody_reads_ends_as_any_other_output(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "partkit_cli", *arguments], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_help_onto_a_full_disk_is_told_as_any_other_output():
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "partkit_cli", "plan", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        3,
        "partkit: standard output cannot be written: No space left on device; send it elsewhere, or make room\n",
    )


def test_ctrl_c_ends_with_130(partkit, library):
    library.plan = KeyboardInterrupt()
    told = partkit("plan", "bert-tiny", "-q")
    assert (told.code, told.out, told.err) == (130, "", "partkit: interrupted\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan"], "partkit plan: Missing argument 'MODEL'; see 'partkit plan --help'\n"),
        (["plna"], "partkit: No such command 'plna'. Did you mean 'plan'; see 'partkit --help'\n"),
        (
            ["run", "x", "--items", "0"],
            "partkit run: Invalid value for '--items': Input should be greater than or equal to 1;",
        ),
        (
            ["plan", "x", "--stagse", "2"],
            "partkit plan: No such option: --stagse (Possible options: --seq, --stages, --task);",
        ),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line_and_ends_with_2(partkit, arguments, message):
    told = partkit(*arguments)
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith(message)
    assert told.err.count("\n") == 1
