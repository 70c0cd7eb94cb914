"""Items of an iterable, of either kind, through something that takes them one by one and answers later: in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any


async def in_order(
    items: Iterable[Any] | AsyncIterable[Any], enter: Callable[[Any], Awaitable[asyncio.Future[Any]]], most: int
) -> AsyncIterator[Any]:
    """Outputs in the order of the items, each as soon as it is there, at most ``most`` items ahead.

    Where an item cannot be taken, the outputs of those before it come first. Left early, what has not begun is
    cancelled.
    """
    entering = _entered(items, enter)
    pending: deque[asyncio.Future[Any]] = deque()
    coming: asyncio.Task[asyncio.Future[Any] | None] | None = None
    has_more, fault = True, None
    try:
        while has_more or pending:
            if has_more and coming is None and len(pending) < most:
                coming = asyncio.ensure_future(anext(entering, None))
            waited: set[asyncio.Future[Any]] = {each for each in (coming, *list(pending)[:1]) if each is not None}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if coming is not None and coming.done():
                try:
                    future = coming.result()
                except Exception as error:  # noqa: BLE001 - of the items' own iterator: first what came before
                    future, fault = None, error
                coming, has_more = None, future is not None
                if future is not None:
                    pending.append(future)
            if pending and pending[0].done():
                yield pending.popleft().result()
        if fault is not None:
            raise fault
    finally:
        for left in (coming, *pending):
            if left is not None and not left.done():
                left.cancel()
            elif left is not None and not left.cancelled():
                left.exception()  # seen: nobody will ask for it


async def _entered(
    items: Iterable[Any] | AsyncIterable[Any], enter: Callable[[Any], Awaitable[asyncio.Future[Any]]]
) -> AsyncIterator[asyncio.Future[Any]]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield await enter(item)
    else:
        for item in items:
            yield await enter(item)
