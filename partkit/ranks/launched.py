"""Ranks that somebody else started (torchrun, Slurm): rank 0 gives the orders, and obeys them too.

torchrun --nnodes 2 --nproc-per-node 2 ... -m partkit_cli run PLAN
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta

from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from partkit.data.job import RunJob
from partkit.data.orders import Order, ReplyT, Stop
from partkit.errors import UsageError
from partkit.ranks.mailbox import Mailbox, serve
from partkit.ranks.rank import Rank, end_with_parent


def is_one_host() -> bool:
    """True where all ranks share this host, and so its files."""
    return os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]


class LaunchedGroup:
    """All ranks as rank 0 sees them: the same calls as a :class:`RankGroup`."""

    def __init__(self, job: RunJob, own_rank: Rank, store: Store) -> None:
        self.job, self._own_rank, self._mailbox = job, own_rank, Mailbox(store)

    def call(
        self,
        order: Order[ReplyT],
        *,
        timeout_s: float | None = None,
        while_waiting: Callable[[], None] | None = None,
    ) -> list[ReplyT]:
        """Give all ranks an order, obey it on this one too, and return all replies; nothing is told meanwhile."""
        del while_waiting
        posted = self._mailbox.post(order)
        own = self._own_rank.obey(order)
        others = range(1, self.job.num_ranks)
        self._mailbox.wait(posted, others, timeout_s or self.job.timeout_s)
        return [own, *self._mailbox.replies(posted, others)]

    def stop(self) -> None:
        """Order the other ranks to stop, then close this one."""
        self._mailbox.post(Stop())
        self._own_rank.close()


def join(job: RunJob) -> LaunchedGroup | None:
    """Be a rank of the job: the group on rank 0; on others obey orders until the one to stop, then None.

    Raises :class:`UsageError` where the launch has not as many ranks as the plan.
    """
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if world_size != job.num_ranks:
        raise UsageError(
            f"the plan needs {job.num_ranks} ranks and the launcher started {world_size}",
            hint=f"start {job.num_ranks}, or re-plan with --stages {world_size}",
        )
    end_with_parent()
    store, _, _ = next(iter(rendezvous("env://", timeout=timedelta(seconds=job.timeout_s))))
    local_rank = int(os.environ.get("LOCAL_RANK", rank))
    own_rank = Rank(job, rank, world_size, PrefixStore("group", store), device_index=local_rank)
    orders = PrefixStore("orders", store)
    if rank == 0:
        return LaunchedGroup(job, own_rank, orders)
    serve(orders, rank, own_rank.obey)
    own_rank.close()
    return None
