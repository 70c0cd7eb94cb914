"""Orders and replies of one group, as JSON in a store: the one place that knows how and under what keys.

parent   set command/0 {"order": "load"}            ... set command/1 {"order": "run", "num_items": 6} ...
rank r   wait command/0 . load . set reply/0/r {..}  ... wait command/1 ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, Protocol

from partkit.data.document import Record
from partkit.data.orders import Order, ReplyT, Stop, name_of, read_order


class Channel(Protocol):
    """Values by key: pipes on this host, a torch store under a launcher."""

    def set(self, key: str, value: str, /) -> None:
        """Tell a value."""

    def get(self, key: str, /) -> bytes:
        """A value that has been told."""

    def check(self, keys: list[str], /) -> bool:
        """True where all have been told."""

    def wait(self, keys: list[str], timeout: timedelta, /) -> None:
        """Block until all have been told."""


@dataclass(frozen=True)
class Posted(Generic[ReplyT]):
    """An order that was given to the ranks of a group."""

    order: Order[ReplyT]
    number: int
    """Of the group's orders."""


class Mailbox:
    """The parent's side of the store."""

    def __init__(self, store: Channel) -> None:
        self._store, self._num_posted = store, 0

    def post(self, order: Order[ReplyT]) -> Posted[ReplyT]:
        """Give all ranks an order."""
        posted = Posted(order, self._num_posted)
        self._store.set(f"command/{posted.number}", order.model_dump_json())
        self._num_posted += 1
        return posted

    def unanswered(self, posted: Posted[Any], ranks: Sequence[int]) -> list[int]:
        """Those of ``ranks`` that have not answered an order yet."""
        keys = [_reply_key(posted.number, rank) for rank in ranks]
        if self._store.check(keys):
            return []
        return [rank for rank, key in zip(ranks, keys, strict=True) if not self._store.check([key])]

    def wait(self, posted: Posted[Any], ranks: Sequence[int], timeout_s: float) -> None:
        """Block until ``ranks`` have answered. Raises :class:`torch.distributed.DistError` after ``timeout_s``."""
        if ranks:
            self._store.wait([_reply_key(posted.number, rank) for rank in ranks], timedelta(seconds=timeout_s))

    def replies(self, posted: Posted[ReplyT], ranks: Sequence[int]) -> list[ReplyT]:
        """What ``ranks`` have answered."""
        return [posted.order.read_reply(self._store.get(_reply_key(posted.number, rank))) for rank in ranks]

    def doing(self, rank: int) -> str | None:
        """Name of the order that a rank took last; None before its first."""
        key = _status_key(rank)
        return self._store.get(key).decode() if self._store.check([key]) else None


def serve(store: Channel, rank: int, handle: Callable[[Order[Any]], Record]) -> None:
    """Answer orders until the one to stop; what a rank does all its life."""
    number = 0
    while True:
        key = f"command/{number}"
        store.wait([key], timedelta(days=7))
        order = read_order(store.get(key))
        if isinstance(order, Stop):
            return
        store.set(_status_key(rank), name_of(order))
        store.set(_reply_key(number, rank), handle(order).model_dump_json())
        number += 1


def _reply_key(number: int, rank: int) -> str:
    return f"reply/{number}/{rank}"


def _status_key(rank: int) -> str:
    return f"status/{rank}"
