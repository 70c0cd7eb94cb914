"""Signals that end a command: what it started and made goes, and no traceback is seen."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from partkit.data.job import LinksJob
from partkit.data.orders import DescribeEnvironment
from partkit.ranks.group import RankGroup
from partkit.ranks.own_folder import OwnFolder, sweep
from partkit_cli.failure import Interrupted, exit_code, sentence
from partkit_cli.signals import ending_in_order

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _heeds_signals() -> Iterator[None]:
    """nohup makes its children ignore SIGHUP, a shell those in its background SIGINT, and so do theirs: these tests
    must heed them, however they were started."""
    heeded = {signal.SIGHUP: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in heeded.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_ranks_and_their_folder_as_ctrl_c_does(name: str, code: int) -> None:
    with ending_in_order(for_good=False):
        with pytest.raises(Interrupted) as raised, RankGroup(LinksJob()) as group:  # noqa: PT012
            group.call(DescribeEnvironment())
            pid = group.pids()[0]
            os.kill(os.getpid(), signal.Signals[name])
        assert (exit_code(raised.value), sentence(raised.value)) == (code, f"ended by {name}")
        os.kill(os.getpid(), signal.SIGINT)  # a second one, while things are cleared away
    assert not group.log_dir.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_signal_that_was_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_in_order(for_good=False):
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


PROGRAM = """
import sys, time
from collections.abc import Iterator
from pathlib import Path
import partkit_cli.main as command
from partkit.data.writing import replacing
from partkit.ranks.own_folder import own_folder

def run(given):
    try:
        with own_folder() as folder, replacing(Path(sys.argv[1]) / "out") as file:
            file.write(b"0" * 1000)
            (folder / "reference").touch()
            print("ready", flush=True)
            time.sleep(60)
    except BaseException as error:
        print("ending", flush=True)
        time.sleep(0.3)
        return command.Output().failure(error)

command._run = run
command.main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_leave_no_folder_and_no_half_a_file_and_show_no_traceback(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}"}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        assert len(list(tmp_path.iterdir())) == 2
        process.send_signal(number)
        assert process.stdout.readline() == "ending\n"
        while process.poll() is None:  # again and again, as an impatient person would
            process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        told = process.stderr.read()
    word = "interrupted" if number is signal.SIGINT else f"ended by {number.name}"
    assert (process.returncode, told) == (code, f"partkit: {word}\n")
    assert list(tmp_path.iterdir()) == []


def test_folders_of_processes_that_ended_are_swept_and_those_of_living_ones_and_kept_logs_are_not(
    tmp_path: Path,
) -> None:
    living, kept, old, dead = (OwnFolder(tmp_path) for _ in range(4))
    kept.keep()
    old.keep()
    os.utime(old.path / "kept", (0, 0))
    fcntl.flock(dead._lock, fcntl.LOCK_UN)  # as when its process has ended
    (dead.path / "rank0.log").touch()
    (tmp_path / "partkit-mine").mkdir()
    assert sweep(tmp_path) == sorted([dead.path, old.path])
    assert sorted(tmp_path.iterdir()) == sorted([living.path, kept.path, tmp_path / "partkit-mine"])
    living.remove()
    kept.remove()
