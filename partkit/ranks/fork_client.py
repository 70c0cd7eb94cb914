"""The parent's side of the fork server: have ranks forked by a process that has imported torch, watch and end them.

    parent      -> server    {"number", "log_dir", "argv", "environment", "cwd", "output"}     fork a rank
    server      -> parent    {"number", "pid"}  ...  {"number", "code", "at"}                          it runs, it ended

Importing torch and transformers takes a rank some seconds of a core; a forked one shares what the server imported.
No CUDA context survives a fork, so the server never makes one: it counts devices by NVML.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from partkit.errors import MachineError, PartkitError, RankFailedError
from partkit.ranks.launch import started_by_launcher

_START_S = 120
_END_S = 5
_MOST_WORDS = 1 << 20
"""Bytes of a server's output that are read."""
_IMPORTS_READ = (
    *("HF_", "HUGGINGFACE_", "KMP_", "LD_", "MKL_", "OMP_"),
    *("PYTHON", "PYTORCH_", "TIMM_", "TORCH", "TRANSFORMERS_", "TRITON_"),
)
"""Beginnings of environment variables that packages read when they are imported."""


_FORKABLE = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}
"""Of the server alone: no pools of threads, which would be missing in what it forks, and CUDA left untouched."""


def fork(log_dir: Path, environment: Mapping[str, str], output: Path) -> Process:
    """A rank of the job in ``log_dir``, forked from a server that this process keeps; its output goes into a file.

    Raises :class:`RankFailedError` where the server cannot be started.
    """
    return _server().start(log_dir, environment, output)


def prepare() -> None:
    """Start the server, so that it imports while this process does too, unless a launcher has started the ranks."""
    if not started_by_launcher():
        _server()


class Process:
    """A process that was forked."""

    def __init__(self, server: ForkServer, number: int) -> None:
        self._server, self._number = server, number

    @property
    def pid(self) -> int:
        """Its number."""
        return self._server.pid_of(self._number)

    def poll(self) -> int | None:
        """Its exit code once it has ended, minus the signal's number where a signal ended it; None before."""
        return self._server.code_of(self._number)

    @property
    def ended_at(self) -> float:
        """``time.time()`` of when the server saw that it had ended; of now where it has not."""
        return self._server.ended_at(self._number)

    def server_fault(self) -> PartkitError | None:
        """Why the server that forked it has ended; None where it has not."""
        return self._server.fault()

    def server_words(self) -> str:
        """What that server has written: faults of its imports, and of a process before it has an output of its own."""
        return self._server.words()

    def kill(self) -> None:
        """End it at once."""
        if self.poll() is None:
            self._server.kill(self._number)


class ForkServer:
    """The parent's side of ``python -m partkit.ranks.fork_server``, which ends when this process does."""

    def __init__(self) -> None:
        self.made_for = _imports_read()
        self._lock = threading.Lock()
        self._socket, other = socket.socketpair()
        self._unread = b""
        self._pids: dict[int, int] = {}
        self._codes: dict[int, int] = {}
        self._ended_at: dict[int, float] = {}
        self._num_started, self._is_gone, self._was_killed = 0, False, False
        self._output = os.memfd_create("partkit-fork-server")  # what it writes: no folder need have room for it
        with other:
            self._process = _popen(
                [sys.executable, "-P", "-m", "partkit.ranks.fork_server", str(other.fileno())],
                env={**os.environ, **_FORKABLE, "PYTHONPATH": os.pathsep.join(import_paths())},
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                start_new_session=True,
            )

    @property
    def is_usable(self) -> bool:
        """False once the server has ended, or where packages would be imported differently now."""
        return not self._is_gone and self._process.poll() is None and self.made_for == _imports_read()

    def start(self, log_dir: Path, environment: Mapping[str, str], output: Path) -> Process:
        """Have a process forked."""
        with self._lock:
            number, self._num_started = self._num_started, self._num_started + 1
            order = {
                "number": number,
                "log_dir": str(log_dir),
                "argv": sys.argv,
                "environment": {**os.environ, **environment},
                "import_paths": import_paths(),
                "cwd": str(Path.cwd()),
                "output": str(output),
            }
            try:
                self._socket.sendall(json.dumps(order).encode() + b"\n")
            except OSError:
                self._is_gone = True
        return Process(self, number)

    def pid_of(self, number: int) -> int:
        """The process's id; waits until the server has imported everything and forked it."""
        deadline = time.monotonic() + _START_S
        while number not in self._pids:
            self._read(timeout_s=0.05)
            if self._is_gone:
                raise self.fault() or RankFailedError("the process that starts ranks was ended by this one")
            if time.monotonic() > deadline:
                raise RankFailedError(
                    f"the process that starts ranks gave no answer within {_START_S} s",
                    hint=f"look at it with 'py-spy dump --pid {self._process.pid}'; it wrote {self._last_words()!r}",
                )
        return self._pids[number]

    def fault(self) -> PartkitError | None:
        """Why the server has ended, in its own words; None where it runs, or was ended from here."""
        self._read(timeout_s=0)
        if not self._is_gone or self._was_killed:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        code, words = self._process.poll(), self._last_words()
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return RankFailedError(
                f"the process that starts ranks was ended by {name}, and its ranks with it",
                hint="something else ended it; where memory ran out, 'dmesg' says so",
            )
        if self._pids:
            return RankFailedError(
                f"the process that starts ranks ended with exit code {code}, and its ranks with it: {words}",
                hint="make room for more processes and memory (see 'ulimit -a'), then run the command again",
            )
        return MachineError(
            f"the process that starts ranks cannot import what ranks need: {words}",
            hint=f"'{sys.executable} -c \"import partkit.ranks.rank\"' shows where",
        )

    def words(self) -> str:
        """All that the server has written to its output so far."""
        return os.pread(self._output, _MOST_WORDS, 0).decode(errors="replace")

    def _last_words(self) -> str:
        return last_line(self.words()) or "nothing"

    def __del__(self) -> None:
        os.close(self._output)

    def code_of(self, number: int) -> int | None:
        """The exit code of a process that has ended; all have where the server has."""
        self._read(timeout_s=0)
        return self._codes.get(number, -signal.SIGKILL if self._is_gone else None)

    def ended_at(self, number: int) -> float:
        """When a process was seen to have ended."""
        return self._ended_at.get(number, time.time())

    def kill(self, number: int) -> None:
        """End a process; while the server still imports, the server, and with it all that it should have forked."""
        if not self._pids:
            self._process.kill()
            self._is_gone = self._was_killed = True
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid_of(number), signal.SIGKILL)

    def retire(self) -> bool:
        """End the server unless a process that it forked still runs; returns whether it was ended."""
        self._read(timeout_s=0)
        if len(self._codes) < self._num_started and not self._is_gone:
            return False
        self.close()
        return True

    def close(self) -> None:
        """End the server, and with it what it has forked."""
        self._was_killed = True
        self._socket.close()
        if not self._pids:  # it may be importing, and would hear of this only then
            self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)

    def _read(self, *, timeout_s: float) -> None:
        """Read the server's messages."""
        with self._lock:
            while not self._is_gone and select.select([self._socket], [], [], timeout_s)[0]:
                timeout_s = 0
                data = b""
                with contextlib.suppress(ConnectionError):
                    data = self._socket.recv(65536)
                self._is_gone = not data
                *lines, self._unread = (self._unread + data).split(b"\n")
                for line in lines:
                    told = json.loads(line)
                    if "pid" in told:
                        self._pids[told["number"]] = told["pid"]
                    else:
                        self._codes[told["number"]] = int(told["code"])
                        self._ended_at[told["number"]] = told["at"]


_servers: dict[int, list[ForkServer]] = {}
"""By the id of the process that started them, since a forked copy of this one needs its own; the last is in use."""
_servers_lock = threading.Lock()


def _server() -> ForkServer:
    with _servers_lock:
        if os.getpid() not in _servers:
            atexit.register(_close_servers, os.getpid())
        servers = _servers.setdefault(os.getpid(), [])
        if not servers or not servers[-1].is_usable:
            servers[:] = [*(server for server in servers if not server.retire()), ForkServer()]
        return servers[-1]


def _close_servers(owner: int) -> None:
    if os.getpid() == owner:
        for server in _servers.get(owner, []):
            server.close()


def last_line(text: str) -> str:
    """The last line that is not blank: what ended a Python program; '' where there is none."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _popen(command: list[str], **how: Any) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, **how)
    except OSError as error:
        raise MachineError(
            f"the process that starts ranks cannot be started: {error.strerror}",
            hint="make room for more processes, open files and memory: 'ulimit -a' shows the limits",
        ) from None


def import_paths() -> list[str]:
    """Where this process looks for modules, in its order, so that another finds the same ones; none is relative."""
    own = str(Path(__file__).resolve().parents[2])
    paths = [str(Path(path).absolute()) for path in sys.path]
    return list(dict.fromkeys(paths if own in paths else [*paths, own]))


def _imports_read() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_IMPORTS_READ)}
