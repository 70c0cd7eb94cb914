"""Start ranks, give them orders, collect their answers and, when one fails, say which and why.

Ranks are forked from a server that has imported torch (:mod:`partkit.ranks.fork_client`). Orders
and replies travel by pipes in the group's own folder (:mod:`partkit.ranks.pipes`); the ranks meet at a file there.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, Protocol, Self

from torch._C._distributed_c10d import FileStore

from partkit.data.job import GroupSetup, JobT, RunJob
from partkit.data.orders import Order, ReplyT, Stop
from partkit.data.places import places
from partkit.data.writing import naming
from partkit.errors import PartkitError, RankFailedError
from partkit.executors import executor_info
from partkit.ranks.death import Ended, first_cause, has_cause
from partkit.ranks.failure import read_failures
from partkit.ranks.fork_client import Process, fork, last_line
from partkit.ranks.interface import wished
from partkit.ranks.mailbox import Mailbox, Posted
from partkit.ranks.own_folder import OwnFolder
from partkit.ranks.pipes import Pipes
from partkit.ranks.pulse import Pulse, read_pulse
from partkit.ranks.stall import last_seen, process_state, stalled

_POLL_S = 0.05
_CAUSE_S = 2
"""Longest that the first cause is awaited, once a rank told that it lost another."""
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
        self._folder = OwnFolder()  # who may enter it may give orders
        self.log_dir = self._folder.path
        self._has_told_logs = False
        self._processes: list[Process] = []
        """By rank; empty once the group has ended."""
        try:
            self._mailbox = Mailbox(Pipes.of_parent(self.log_dir, job.num_ranks))
            with naming(self.log_dir):
                (self.log_dir / "job.json").write_text(job.model_dump_json(), encoding="utf-8")
            self._start()
        except BaseException:
            self.kill()
            self.drop_logs()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is None:
            self.close()
        else:  # a fault or Ctrl-C: ranks in the middle of an order would not hear of it
            self.kill()
            self._drop_logs_unless_told(error)

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
                error = self._stall(late, f"gave no answer within {limit:.0f} s")
                self.kill()
                self._has_told_logs = True
                raise error
            if while_waiting is not None:
                while_waiting()
            time.sleep(_POLL_S)
        return self._mailbox.replies(posted, ranks)

    def raise_if_failed(self) -> None:
        """Raise :class:`RankFailedError` with the first cause when a rank has ended."""
        ended = self._ended()
        if not ended:
            return
        error: PartkitError
        deadline = time.monotonic() + _CAUSE_S
        while not (has_cause(ended, told := read_failures(self.log_dir)) or time.monotonic() > deadline):
            time.sleep(_POLL_S)
            ended = self._ended()
        fault = self._server_fault()
        alive = [rank for rank in range(self.job.num_ranks) if rank not in {each.rank for each in ended}]
        if fault is not None and all(failure.is_consequence for failure in told):
            error = fault
        elif alive and not has_cause(ended, told):  # the others gave up waiting for one that still runs
            error = self._stall(alive, "kept others waiting for too long")
        else:
            error = first_cause(ended, told, self._describe, hint=f"the log is in {self.log_dir}")
        self.kill()
        self._has_told_logs = error.hint is not None
        self._drop_logs_unless_told()  # the error may say all that there is to know
        raise error

    def overdue(self, what: str) -> RankFailedError:
        """The error of ranks that run and do not give what is awaited: who holds up the rest ``what``."""
        return self._stall(range(self.job.num_ranks), what)

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
        try:
            self._await_end(_STOP_S)
        finally:
            self.kill()
            self._drop_logs_unless_told()

    def kill(self) -> None:
        """End the ranks at once."""
        for process in self._processes:
            process.kill()
        self._await_end(_KILLED_S)
        self._processes = []

    def drop_logs(self) -> None:
        """Remove the logs of ranks that have ended: nobody will read them."""
        self._folder.remove()

    def _drop_logs_unless_told(self, error: BaseException | None = None) -> None:
        """Remove the logs, or keep them for people to read where an error names their folder."""
        if self._has_told_logs or str(self.log_dir) in str(error):
            self._folder.keep()
        else:
            self.drop_logs()

    def _await_end(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and any(process.poll() is None for process in self._processes):
            time.sleep(_POLL_S)

    def _start(self) -> None:
        for rank in range(self.job.num_ranks):
            self._processes.append(fork(self.log_dir, self._environment(rank), self.log_dir / f"rank{rank}.log"))

    def _environment(self, rank: int) -> dict[str, str]:
        world, threads = str(self.job.num_ranks), str(self.job.threads_of(rank))
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
            **{name: wished(name) or "lo" for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")},
            "PYTHONSAFEPATH": "1",  # Python that a rank starts looks in no working folder either
        }

    def _ended(self) -> list[Ended]:
        """The ranks that have ended, though none was asked to."""
        codes = {rank: code for rank, process in enumerate(self._processes) if (code := process.poll()) is not None}
        return [
            Ended(
                rank=rank,
                code=code,
                at=self._processes[rank].ended_at,
                activity=self._activity(rank),
                last_seen=last_seen(self._pulse(rank)),
                last_words=self._last_words(rank, self._processes[rank].server_words()),
            )
            for rank, code in codes.items()
        ]

    def _stall(self, late: Sequence[int], what: str) -> RankFailedError:
        """What to say of ranks that others, or this process, wait for: who holds up the rest is named alone."""
        pulses = {rank: self._pulse(rank) for rank in late}
        blamed = stalled(pulses, {rank: process_state(self._processes[rank].pid) for rank in late})
        told = [
            f"{self._describe(rank)} {why}{self._activity(rank)} and {what}"
            f"{last_seen(pulses[rank], names_function=True)}"
            for rank, why in blamed.items()
        ]
        told = told or [f"{self._describe(rank)} {what}{last_seen(pulses[rank])}" for rank in late]
        rank = next(iter(blamed)) if len(blamed) == 1 else None
        return RankFailedError(" and ".join(told), hint=f"see the log in {self.log_dir}", rank=rank)

    def _pulse(self, rank: int) -> Pulse | None:
        return read_pulse(self.log_dir, rank)

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
        stages = _stages_of(self.job, rank)
        of_stages = f"stage{'s' if len(stages) > 1 else ''} {', '.join(map(str, stages))}, " if stages else ""
        return f"rank {rank} of {self.job.num_ranks} ({of_stages}{self.job.label} on {device})"

    def _activity(self, rank: int) -> str:
        doing = self._mailbox.doing(rank)
        return " while starting" if doing is None else f" during '{doing}'"


def connect(log_dir: Path, rank: int) -> Pipes:
    """A rank's side of what its parent orders."""
    return Pipes.of_rank(log_dir, rank)


def meeting_place(log_dir: Path, num_ranks: int) -> FileStore:
    """Where the ranks of a group find each other: a file, for a store that listens obeys whoever reaches it."""
    return FileStore(str(log_dir / "meeting"), num_ranks)


def _stages_of(job: GroupSetup, rank: int) -> list[int]:
    """The stages that a rank hosts; none where its executor runs no stages."""
    if not isinstance(job, RunJob) or not executor_info(job.executor).runs_stages:
        return []
    return [place.stage for place in places(job.plan, job.host_by_place) if place.rank == rank]
