"""Ranks forked from a server behave as processes of their own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from partkit.data.job import LinksJob, ProfileJob
from partkit.data.model import ModelSpec
from partkit.data.orders import CaptureModel, DescribeEnvironment
from partkit.errors import MachineError, RankFailedError, UnsupportedError
from partkit.ranks import fork_client as processes
from partkit.ranks.fork_client import ForkServer, Process
from partkit.ranks.group import RankGroup

PARENT = """
import time
from partkit.data.job import LinksJob
from partkit.data.orders import DescribeEnvironment
from partkit.ranks.group import RankGroup
group = RankGroup(LinksJob(devices=(0, 1)))
group.call(DescribeEnvironment())
print(*group.pids().values(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def server() -> ForkServer:
    """The one that this process keeps, for groups too."""
    return processes._server()


def ended(process: Process, seconds: float = 20) -> int:
    deadline = time.monotonic() + seconds
    while (code := process.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return code


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_forked_rank_has_the_callers_environment_and_folder_now(
    server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.json").write_text("not a job")
    process = server.start(Path(), {"RANK": "0", "WORLD_SIZE": "1"}, tmp_path / "rank.log")
    assert process.pid > 0
    assert ended(process) == 1
    assert "Invalid JSON" in (tmp_path / "rank.log").read_text(), "it read the job of the folder that we are in now"


def test_a_killed_rank_tells_its_signal_and_the_server_goes_on(server: ForkServer) -> None:
    code = server.start(Path("/nonexistent"), {"RANK": "0", "WORLD_SIZE": "1"}, Path(os.devnull))
    assert ended(code) == 1
    assert server.is_usable
    with RankGroup(LinksJob()) as group:
        group.call(DescribeEnvironment())
        os.kill(group.pids()[0], signal.SIGKILL)
        with pytest.raises(RankFailedError, match="was ended by SIGKILL"):
            group.call(DescribeEnvironment())


def test_a_server_of_other_imports_is_not_used_again(server: ForkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert server.is_usable
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not server.is_usable


def test_where_the_server_ends_its_ranks_count_as_killed(tmp_path: Path) -> None:
    server = ForkServer()
    try:
        process = server.start(tmp_path, {"RANK": "0", "WORLD_SIZE": "1"}, tmp_path / "log")
        server._process.kill()
        server._process.wait()
        assert ended(process) == -signal.SIGKILL
        assert not server.is_usable
        with pytest.raises(RankFailedError) as raised:
            _ = process.pid
        assert raised.value.message == "the process that starts ranks was ended by SIGKILL, and its ranks with it"
    finally:
        server.close()


@pytest.mark.timed
def test_a_server_that_still_imports_is_not_waited_for(tmp_path: Path) -> None:
    server = ForkServer()
    began = time.monotonic()
    process = server.start(tmp_path, {"RANK": "0", "WORLD_SIZE": "1"}, tmp_path / "log")
    process.kill()
    assert process.poll() == -signal.SIGKILL
    server.close()
    unused = ForkServer()
    unused.close()
    assert time.monotonic() - began < 2, "the imports take longer"
    assert not (tmp_path / "log").exists()
    assert gone(server._process.pid)
    assert gone(unused._process.pid)


def test_a_server_is_prepared_unless_a_launcher_has_started_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr(processes, "_server", lambda: begun.append("server"))
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    processes.prepare()
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")
    processes.prepare()
    assert begun == ["server"]


def test_a_parent_that_is_killed_leaves_no_rank_behind() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(psutil.Process(pid).name() == f"partkit-rank-{rank}" for rank, pid in enumerate(pids))
        parent.kill()
    deadline = time.monotonic() + 10
    while not all(map(gone, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def hiding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules hide all others of their names, for a server that the test starts."""
    monkeypatch.setattr(processes, "_servers", {})
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    processes._close_servers(os.getpid())


def test_what_a_server_says_when_its_imports_fail_is_what_the_user_reads(hiding: Path) -> None:
    (hiding / "torch.py").write_text("raise ImportError('libtorch_cpu.so: cannot open shared object file')\n")
    with RankGroup(LinksJob()) as group, pytest.raises(MachineError) as raised:
        group.call(DescribeEnvironment())
    log = group.log_dir / "fork-server.log"
    assert raised.value.message == (
        "the process that starts ranks cannot import what ranks need: "
        "ImportError: libtorch_cpu.so: cannot open shared object file"
    )
    assert raised.value.hint == (
        f"'{sys.executable} -c \"import partkit.ranks.rank\"' shows where; what it wrote is in {log}"
    )
    assert f'File "{hiding}/torch.py", line 1' in log.read_text()


@pytest.mark.nightly
def test_a_preload_that_fails_stops_no_rank_that_does_without_it(hiding: Path) -> None:
    (hiding / "transformers.py").write_text("raise RuntimeError('made for another torch')\n")
    (hiding / "models.py").write_text(
        "import torch\ndef net():\n    return torch.nn.Linear(2, 2), (torch.ones(1, 2),)\n"
    )
    with RankGroup(ProfileJob(model=ModelSpec(source="py:models:net"), allow_code=True)) as group:
        group.call(CaptureModel())
    needing = ProfileJob(model=ModelSpec(source="bert-tiny"))
    with RankGroup(needing) as group, pytest.raises(UnsupportedError) as raised:
        group.call(CaptureModel())
    assert raised.value.message.startswith("transformers can't be imported (RuntimeError: made for another torch); ")
