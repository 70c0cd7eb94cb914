"""A rank: obeys its parent's orders (rank 0's under torchrun) until the one to stop."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import Store

from partkit.data.job import Job, LinksJob, ProfileJob, RunJob, read_job
from partkit.data.orders import DescribeEnvironment, Order, ReplyT, name_of
from partkit.data.replies import EnvironmentDescribed, Reply
from partkit.executors import executor_info
from partkit.executors.protocol import RankContext
from partkit.machine.environment import describe_environment
from partkit.ranks.failure import failure_of, write_failure
from partkit.ranks.group import connect, meeting_place
from partkit.ranks.links_work import LinksWork
from partkit.ranks.mailbox import serve
from partkit.ranks.profile_work import ProfileWork
from partkit.ranks.pulse import Heart, pulse_path
from partkit.ranks.run_work import RunWork
from partkit.ranks.write_work import WriteWork

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_CONNECTIONS = "32"
"""Hardware queues for CUDA streams (CUDA_DEVICE_MAX_CONNECTIONS): two streams that share one wait for each other."""


def main(log_dir: Path) -> int:
    """What a forked process runs; returns its exit code, that of the error that ended it."""
    end_with_parent()
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    ctypes.CDLL(None).prctl(_PR_SET_NAME, f"partkit-rank-{rank}".encode())  # for top and the like
    job = read_job((log_dir / "job.json").read_text(encoding="utf-8"))
    served: Rank | None = None
    Heart(pulse_path(log_dir, rank), lambda: {} if served is None else served.turns())
    try:
        served = Rank(job, rank, world_size, meeting_place(log_dir, world_size))
        serve(connect(log_dir, rank), rank, served.obey)
        served.close()
    except BaseException as error:  # noqa: BLE001 - whatever ends a rank, SystemExit too, is told to the parent
        traceback.print_exc()
        failure = failure_of(error, rank, job)
        write_failure(log_dir, failure)
        sys.stderr.flush()
        os._exit(failure.exit_code)  # other threads may be stuck in a collective: do not wait for them
    return 0


def end_with_parent() -> None:
    """Have the system end this process when its parent is killed outright (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Work(Protocol):
    """What the ranks of one kind of job do."""

    orders: ClassVar[Any]
    """Those that it takes: a class or a union of them."""

    def obey(self, order: Any, /) -> Reply:
        """Do one of :attr:`orders`."""

    def turns(self) -> dict[int, int]:
        """Turns that each stage of this rank has taken; another thread asks."""

    def close(self) -> None:
        """Release what must be released before the process group is destroyed."""


class Rank:
    """One rank of a job: its device, its process group and its work."""

    def __init__(self, job: Job, rank: int, world_size: int, store: Store, *, device_index: int | None = None) -> None:
        device = torch.device("cpu")
        if job.device == "cuda":
            if isinstance(job, LinksJob) or (isinstance(job, RunJob) and _has_many_streams(job)):
                os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", _CONNECTIONS)
            device = torch.device("cuda", job.devices[rank] if device_index is None else device_index)
            torch.cuda.set_device(device)
        torch.set_num_threads(job.threads_of(rank))
        if not isinstance(job, LinksJob):
            torch.set_float32_matmul_precision("high" if job.model.tf32 else "highest")
            torch.backends.cudnn.allow_tf32 = job.model.tf32
        timeout = timedelta(seconds=job.timeout_s)
        backend = "cpu:gloo,cuda:nccl" if job.device == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=timeout)
        control = dist.new_group(backend="gloo", timeout=timeout)
        self._work = _work_of(job, rank, device, control, device_index)

    def obey(self, order: Order[ReplyT]) -> ReplyT:
        """Do one order."""
        if isinstance(order, DescribeEnvironment):
            return cast("ReplyT", EnvironmentDescribed(environment=describe_environment()))
        assert isinstance(order, self._work.orders), f"{type(self._work).__name__} takes no order {name_of(order)!r}"
        return cast("ReplyT", self._work.obey(order))

    def turns(self) -> dict[int, int]:
        """Turns that each stage of this rank has taken in the run."""
        return self._work.turns()

    def close(self) -> None:
        """Release the work's part, then the process group."""
        self._work.close()
        dist.destroy_process_group()


def _work_of(job: Job, rank: int, device: torch.device, control: dist.ProcessGroup, device_index: int | None) -> Work:
    match job:
        case LinksJob():
            return LinksWork(rank, job.devices, device, control)
        case ProfileJob():
            return ProfileWork(job, device)
        case RunJob() if job.plan.generate is not None:
            return WriteWork(RankContext(job, rank, job.num_ranks, device, control))
        case RunJob():
            own = job.devices_of(rank) if job.device_by_place or device_index is None else (device_index,)
            return RunWork(RankContext(job, rank, job.num_ranks, device, control), own)


def _has_many_streams(job: RunJob) -> bool:
    """Whether a rank of the job copies beside its computation, or computes on several streams."""
    return executor_info(job.executor).runs_stages or job.lanes > 1
