"""Ranks that somebody else started (torchrun, Slurm): rank 0 gives the orders, and obeys them too.

torchrun --nnodes 2 --nproc-per-node 2 ... -m partkit_cli run PLAN
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

from partkit.data.job import RunJob
from partkit.data.orders import Order, ReplyT, Stop
from partkit.data.progress import Progress, silent
from partkit.errors import MachineError, PartkitError, RankFailedError, UsageError
from partkit.ranks.failure import error_of, failure_of
from partkit.ranks.interface import VARIABLE, choose, own_address
from partkit.ranks.launch import Launch
from partkit.ranks.life import Life, Named
from partkit.ranks.mailbox import Channel, Mailbox, serve
from partkit.ranks.rank import Rank, end_with_parent
from partkit.ranks.signed import SignedStore

_TRY_S, _LOOK_S = 2, 0.2
_ResultT = TypeVar("_ResultT")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def is_one_host() -> bool:
    """True where all ranks share this host, and so its files."""
    return os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]


class LaunchedGroup:
    """All ranks as rank 0 sees them: the same calls as a :class:`RankGroup`."""

    def __init__(self, job: RunJob, orders: Channel, obey: Callable[[Order[Any]], Any]) -> None:
        """``obey``: does an order on this rank."""
        self.job, self._mailbox, self._obey = job, Mailbox(orders), obey

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
        own = self._obey(order)
        others = range(1, self.job.num_ranks)
        self._mailbox.wait(posted, others, timeout_s or self.job.timeout_s)
        return [own, *self._mailbox.replies(posted, others)]

    def stop(self) -> None:
        """Order the other ranks to stop."""
        self._mailbox.post(Stop())


def take_part(job: RunJob, lead: Callable[[LaunchedGroup], _ResultT], tell: Progress = silent) -> _ResultT | None:
    """Be a rank of the job: what ``lead`` makes of the group on rank 0; on others obey until the end, then None.

    ``tell`` hears at once what the environment says and who is awaited. Raises :class:`UsageError` where the launch
    has not as many ranks as the plan, :class:`RankFailedError` where a rank does not join in time, or is lost later:
    then on every rank, within a bounded time, with the rank's number and host.
    """
    launch = Launch.of_environment()
    if launch.world_size != job.num_ranks:
        raise UsageError(
            f"the plan needs {job.num_ranks} ranks and the launcher started {launch.world_size} ({launch.told})",
            hint=f"start {job.num_ranks}, or re-plan with --stages {launch.world_size}{launch.or_without}",
        )
    secret = os.environ.get("PARTKIT_SECRET")
    if not secret and not is_one_host() and launch.address not in _LOOPBACK:
        raise UsageError(
            "ranks on several hosts take orders from whoever reaches the launcher's store, unless they share a secret",
            hint="set PARTKIT_SECRET to the same random text on every host, as 'openssl rand -hex 16' makes",
        )
    end_with_parent()
    store, ranks = _meet(launch, tell)
    if not is_one_host():
        choose([store.get(f"address/{rank}").decode() for rank in range(launch.world_size)], launch.port)

    def work() -> _ResultT | None:
        """All that may wait for another rank; in one thread, since a CUDA device is chosen for a thread."""
        local_rank = int(os.environ.get("LOCAL_RANK", launch.rank))
        own = Rank(job, launch.rank, launch.world_size, PrefixStore("group", store), device_index=local_rank)
        orders, result = _orders(store, secret), None
        if launch.rank == 0:
            group = LaunchedGroup(job, orders, own.obey)
            result = lead(group)
            group.stop()
        else:
            serve(orders, launch.rank, own.obey)
        if life is not None:
            life.end()
        own.close()
        return result

    def fault_of(error: Exception) -> tuple[PartkitError, bool]:
        return _fault_of(error, launch.rank, job, str(ranks[launch.rank]))

    if is_one_host():  # the launcher ends all when one fails
        life = None
        try:
            return work()
        except Exception as error:
            raise fault_of(error)[0] from error
    life = Life(lambda: _second_store(launch), ranks, launch.rank, f"{launch.address}:{launch.port}")
    return life.run(work, fault_of)


def _fault_of(error: Exception, rank: int, job: RunJob, name: str) -> tuple[PartkitError, bool]:
    """What ended a rank's work, and whether that is only that it lost another."""
    failure = failure_of(error, rank, job)
    if isinstance(error, PartkitError):
        return error, False
    hint = f"run it with --verbose on {name.rpartition(' ')[2]} for more"
    if failure.is_consequence:
        hint = f"where hosts have several networks, set {VARIABLE} (and NCCL_SOCKET_IFNAME) to the one that they share"
    return error_of(failure, name, hint), failure.is_consequence


def _meet(launch: Launch, tell: Progress) -> tuple[Store, list[Named]]:
    """The store of the launch, once all its ranks have come to it, and who they are; who is awaited is told."""
    deadline = time.monotonic() + launch.wait_s
    tell(f"{launch.told}: waiting up to {launch.wait_s} s for {launch.num_others} more{launch.or_without}", 0, 1)
    store = _open_store(launch, deadline)
    keys = [f"joined/{rank}" for rank in range(launch.world_size)]
    store.set(f"address/{launch.rank}", own_address(launch.address, launch.port) or "")
    store.set(keys[launch.rank], socket.gethostname())
    num_told = 1
    while absent := [rank for rank, key in enumerate(keys) if not store.check([key])]:
        if time.monotonic() > deadline:
            raise _not_met(launch, f"rank {', '.join(map(str, absent))} of {launch.world_size}")
        if launch.world_size - len(absent) > num_told:
            num_told = launch.world_size - len(absent)
            hosts = {store.get(key).decode() for rank, key in enumerate(keys) if rank not in absent}
            awaited = ", ".join(map(str, absent))
            tell(f"{num_told} of {launch.world_size} ranks joined (on {', '.join(sorted(hosts))}), no {awaited}", 0, 1)
        time.sleep(_LOOK_S)
    return store, [Named(rank, store.get(key).decode(), launch.world_size) for rank, key in enumerate(keys)]


def _open_store(launch: Launch, deadline: float, *, is_second: bool = False) -> Store:
    """Rank 0's store, or the one that torchrun's agent keeps; ``is_second``: another connection to it."""
    is_host = launch.rank == 0 and not launch.has_agent_store and not is_second
    while True:
        with contextlib.suppress(dist.DistNetworkError) if not is_host else _port_in_use(launch):
            store = TCPStore(
                launch.address, launch.port, is_master=is_host, wait_for_workers=False, multi_tenant=True,
                timeout=timedelta(seconds=_TRY_S),
            )  # fmt: skip
            store.set_timeout(timedelta(seconds=launch.wait_s))
            attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            return PrefixStore(f"/worker/attempt_{attempt}", store)
        if time.monotonic() > deadline:
            raise _not_met(launch, "rank 0")


def _second_store(launch: Launch) -> Store:
    """Another connection, for a thread of its own."""
    return PrefixStore("life", _open_store(launch, time.monotonic() + launch.wait_s, is_second=True))


@contextlib.contextmanager
def _port_in_use(launch: Launch) -> Iterator[None]:
    try:
        yield
    except dist.DistNetworkError as error:
        raise MachineError(
            f"rank 0 cannot listen on {launch.address}:{launch.port}: {str(error).splitlines()[0]}",
            hint=f"set MASTER_ADDR to this host and MASTER_PORT to a free port{launch.or_without}",
        ) from None


def _not_met(launch: Launch, who: str) -> RankFailedError:
    return RankFailedError(
        f"{who} did not come to {launch.address}:{launch.port} within {launch.wait_s} s ({launch.told})",
        hint=f"start all {launch.world_size} ranks with the same MASTER_ADDR and MASTER_PORT{launch.or_without}",
    )


def _orders(store: Store, secret: str | None) -> Channel:
    """The part of the launcher's store for orders; signed where the ranks share a secret."""
    orders = PrefixStore("orders", store)
    if not secret:
        return orders
    return SignedStore(orders, secret, run=os.environ.get("TORCHELASTIC_RUN_ID", ""))
