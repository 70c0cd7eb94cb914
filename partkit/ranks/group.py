"""Start ranks, give them orders, collect their answers and, when one fails, say which and why.

Ranks are forked from a server that has imported torch (:mod:`partkit.ranks.fork_client`). Orders
and replies travel by pipes in the group's own folder (:mod:`partkit.ranks.pipes`); the ranks meet at a file there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, Self

from torch._C._distributed_c10d import FileStore

from partkit.data.job import JobT
from partkit.data.orders import Order, ReplyT, Stop
from partkit.errors import PartkitError, RankFailedError
from partkit.ranks.failure import error_of, read_failures
from partkit.ranks.fork_client import Process, fork, last_line
from partkit.ranks.mailbox import Mailbox, Posted
from partkit.ranks.own_folder import FOLDER_PREFIX
from partkit.ranks.pipes import Pipes

_POLL_S = 0.05
_STOP_S = 10
_KILLED_S = 5


class Ranks(Protocol[JobT]):
    """Ranks that take orders, however they were started."""

    job: JobT

    def call(
        self,
        order: Order[ReplyT],
        *,
        timeout_s: float | None = None,
        while_waiting: Callable[[], None] | None = None,
    ) -> list[ReplyT]:
        """Give all ranks an order and return their replies by rank."""


class RankGroup(Generic[JobT]):
    """The ranks of one job, started on this host; a context manager that leaves nothing running.

    Their logs go with them unless an error refers to them.
    """

    def __init__(self, job: JobT) -> None:
        self.job = job
        self.log_dir = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))  # 0700: who may enter it may give orders
        self._mailbox = Mailbox(Pipes.of_parent(self.log_dir, job.num_ranks))
        (self.log_dir / "job.json").write_text(job.model_dump_json(), encoding="utf-8")
        self._processes = self._start()
        """By rank; empty once the group has ended."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:  # a fault or Ctrl-C: ranks in the middle of an order would not hear of it
            self.kill()
            if kind is KeyboardInterrupt:
                self.drop_logs()

    def call(
        self,
        order: Order[ReplyT],
        *,
        timeout_s: float | None = None,
        while_waiting: Callable[[], None] | None = None,
    ) -> list[ReplyT]:
        """Give all ranks an order and return their replies by rank.

        Raises :class:`RankFailedError` when a rank ends, or has not answered after ``timeout_s`` seconds
        (the job's ``timeout_s`` by default), and :class:`UnsupportedError` where a rank said that it cannot
        run the model. ``while_waiting`` is called now and then, to tell how far things are.
        """
        return self.collect(self.post(order), timeout_s=timeout_s, while_waiting=while_waiting)

    def post(self, order: Order[ReplyT]) -> Posted[ReplyT]:
        """Give all ranks an order without waiting; :meth:`collect` has the replies."""
        return self._mailbox.post(order)

    def collect(
        self,
        posted: Posted[ReplyT],
        *,
        timeout_s: float | None = None,
        while_waiting: Callable[[], None] | None = None,
    ) -> list[ReplyT]:
        """The replies to an order, by rank; raises as :meth:`call` does."""
        ranks = range(self.job.num_ranks)
        limit = self.job.timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + limit
        while late := self._mailbox.unanswered(posted, ranks):
            self.raise_if_failed()
            if time.monotonic() > deadline:
                self._raise_if_stopped(f"within {limit:.0f} s")
                self.kill()
                raise RankFailedError(
                    f"{_ranks(late)} of {self.job.label} gave no answer within {limit:.0f} s and was stopped",
                    hint=f"see the log in {self.log_dir}",
                )
            if while_waiting is not None:
                while_waiting()
            time.sleep(_POLL_S)
        return self._mailbox.replies(posted, ranks)

    def raise_if_failed(self) -> None:
        """Raise :class:`RankFailedError` with the first cause when a rank has ended."""
        codes = {rank: process.poll() for rank, process in enumerate(self._processes)}
        if any(codes.values()) or (codes and None not in codes.values()):
            if all(failure.is_consequence for failure in read_failures(self.log_dir)):
                self._raise_if_stopped("while others waited for it")
            fault, words = self._server_fault(), self._processes[0].server_words()
            self.kill()
            error = self._first_cause(codes, fault, words)
            if error.hint is None:  # it says all that there is to know
                self.drop_logs()
            raise error

    def _raise_if_stopped(self, when: str) -> None:
        """Name a rank that a signal or a debugger has stopped: others that wait for it are late only for that."""
        stopped = [rank for rank, process in enumerate(self._processes) if process.is_stopped()]
        if stopped:
            message = f"{self._describe(stopped[0])} was stopped by a signal or a debugger{self._activity(stopped[0])}"
            self.kill()
            raise RankFailedError(f"{message} and gave no answer {when}", hint=f"see the log in {self.log_dir}")

    def pids(self) -> dict[int, int]:
        """Process id by rank."""
        return {rank: process.pid for rank, process in enumerate(self._processes)}

    def ask_to_stop(self) -> None:
        """Order the ranks to stop without waiting, so that several groups can stop side by side."""
        if self._processes:
            self.post(Stop())

    def close(self) -> None:
        """Ask the ranks to stop; end those that have not after a few seconds."""
        self.ask_to_stop()
        with contextlib.suppress(KeyboardInterrupt):
            self._await_end(_STOP_S)
        went_well = bool(self._processes) and all(process.poll() == 0 for process in self._processes)
        self.kill()
        if went_well:
            self.drop_logs()

    def kill(self) -> None:
        """End the ranks at once."""
        for process in self._processes:
            process.kill()
        self._await_end(_KILLED_S)
        self._processes = []

    def drop_logs(self) -> None:
        """Remove the logs of ranks that have ended: nobody will read them."""
        shutil.rmtree(self.log_dir, ignore_errors=True)

    def _await_end(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and any(process.poll() is None for process in self._processes):
            time.sleep(_POLL_S)

    def _start(self) -> list[Process]:
        return [
            fork(self.log_dir, self._environment(rank), self.log_dir / f"rank{rank}.log")
            for rank in range(self.job.num_ranks)
        ]

    def _environment(self, rank: int) -> dict[str, str]:
        world, threads = str(self.job.num_ranks), str(self.job.threads)
        # NCCL takes two ranks of one host on one GPU for a mistake
        apart = {"NCCL_HOSTID": f"partkit-rank-{rank}"} if self.job.shares_gpus else {}
        return apart | {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": world,
            "LOCAL_WORLD_SIZE": world,
            "LOCAL_SIZE": world,  # DeepSpeed's shared-memory all-reduce reads this one
            "PARTKIT_RANK": str(rank),  # and no launcher's
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            # all on this host: neither listens where others could reach it
            **{name: os.environ.get(name, "lo") for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")},
            "PYTHONSAFEPATH": "1",  # Python that a rank starts looks in no working folder either
        }

    def _first_cause(self, codes: dict[int, int | None], fault: PartkitError | None, words: str) -> PartkitError:
        """What ended a rank first; ``fault`` is their server's, ``words`` what the server has written."""
        told = sorted(read_failures(self.log_dir), key=lambda failure: (failure.is_consequence, failure.at))
        if fault is not None and all(failure.is_consequence for failure in told):
            return fault
        where = f"the log is in {self.log_dir}"
        silent = {rank: code for rank, code in sorted(codes.items()) if code and all(f.rank != rank for f in told)}
        for rank, code in silent.items():
            if code < 0:
                name = signal.Signals(-code).name
                return RankFailedError(f"{self._describe(rank)} was ended by {name}{self._activity(rank)}", hint=where)
        if told:
            return error_of(told[0], self._describe(told[0].rank), where)
        rank, code = next(iter(silent.items()), (0, 0))
        ended = (
            f"{self._describe(rank)} ended with exit code {code}{self._activity(rank)}: {self._last_words(rank, words)}"
        )
        return RankFailedError(ended, hint=where)

    def _server_fault(self) -> PartkitError | None:
        """Why the server of the ranks has ended; all that it wrote is kept among the logs."""
        fault = self._processes[0].server_fault()
        if fault is not None:
            path = self.log_dir / "fork-server.log"
            with contextlib.suppress(OSError):  # no room: the message has the line that matters
                path.write_text(self._processes[0].server_words(), encoding="utf-8")
                fault.hint = f"{fault.hint}; what it wrote is in {path}"
        return fault

    def _last_words(self, rank: int, server_words: str) -> str:
        """The last line that a rank wrote; where it did not come to have a log, its server has it."""
        log = self.log_dir / f"rank{rank}.log"
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        return last_line(text) or last_line(server_words) or "it wrote nothing"

    def _describe(self, rank: int) -> str:
        device = "cpu" if self.job.device == "cpu" else f"cuda:{self.job.devices[rank]}"
        return f"rank {rank} of {self.job.num_ranks} ({self.job.label} on {device})"

    def _activity(self, rank: int) -> str:
        doing = self._mailbox.doing(rank)
        return " while starting" if doing is None else f" during '{doing}'"


def connect(log_dir: Path, rank: int) -> Pipes:
    """A rank's side of what its parent orders."""
    return Pipes.of_rank(log_dir, rank)


def meeting_place(log_dir: Path, num_ranks: int) -> FileStore:
    """Where the ranks of a group find each other: a file, for a store that listens obeys whoever reaches it."""
    return FileStore(str(log_dir / "meeting"), num_ranks)


def _ranks(ranks: list[int]) -> str:
    names = ", ".join(str(rank) for rank in ranks)
    return f"rank {names}" if len(ranks) == 1 else f"ranks {names}"
