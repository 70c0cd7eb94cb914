"""Signs of life between hosts: each rank tells the launch's store that it lives, and looks whether the others do.

    thread of rank r   every second: add 1 to beat/r . read beat/0 ... beat/n and fault/0 ... fault/n
    main thread        waits for its work, and raises where a rank has told a fault, or nothing for ten seconds

Collectives would wait ten minutes for a host whose link was cut. The thread has a connection of its own, since a wait
for an order holds the other one; where it is not answered, rank 0's host, which keeps the store, is what is lost.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch._C._distributed_c10d import Store

from partkit.data.reading import in_one_line
from partkit.errors import PartkitError, RankFailedError

BEAT_S = 1.0
LOST_S = 10.0
"""Without a beat for so long, a rank counts as lost: a virtual machine's hiccups and a loaded switch last less."""
_CAUSE_S = LOST_S + 3 * BEAT_S
"""Longest that the first cause is awaited, once this rank found that it lost another."""
_LOOK_S = 0.1
_ResultT = TypeVar("_ResultT")


@dataclass(frozen=True)
class Named:
    """A rank and the host that it is on."""

    rank: int
    host: str
    num_ranks: int

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.num_ranks} on host {self.host}"


class Life:
    """The beats of one rank, and what it knows of the others'."""

    def __init__(self, open_store: Callable[[], Store], ranks: Sequence[Named], own: int, address: str) -> None:
        """``open_store``: makes a connection for the thread alone; ``address``: of the store, for people."""
        self._own, self._ranks, self._address = own, ranks, address
        self._fault: PartkitError | None = None
        """What this rank is to tell the others."""
        self._found: RankFailedError | None = None
        self._answered_at = time.monotonic()
        self._is_over = threading.Event()
        self._store = open_store()
        self._thread = threading.Thread(target=self._beat, name="life", daemon=True)
        self._thread.start()

    def run(self, work: Callable[[], _ResultT], fault_of: Callable[[Exception], tuple[PartkitError, bool]]) -> _ResultT:
        """The result of ``work``, done in a thread; raises its fault, or that of the rank that was lost first.

        ``fault_of``: what an exception of ``work`` means, and whether that is only that another rank was lost.
        """
        done, outcome = threading.Event(), list[_ResultT | Exception]()

        def do() -> None:
            try:
                outcome.append(work())
            except Exception as error:  # noqa: BLE001 - raised again by the main thread
                outcome.append(error)
            done.set()

        threading.Thread(target=do, name="partkit-rank", daemon=True).start()
        while not done.wait(_LOOK_S):
            if (lost := self.lost()) is not None:
                raise self._ending(lost)
        result = outcome[0]
        if not isinstance(result, Exception):
            return result
        raise self._ending(self._cause_of(*fault_of(result))) from result

    def lost(self) -> RankFailedError | None:
        """The first fault that is known of another rank; None while all live."""
        if self._found is None and time.monotonic() - self._answered_at > LOST_S:
            self._found = RankFailedError(
                f"{self._ranks[0]} did not answer for {LOST_S:.0f} s at {self._address}: it has ended, or the link to "
                "it is cut",
                hint=f"see what it says, and whether {self._ranks[self._own].host} reaches {self._address}",
                rank=0,
            )
        return self._found

    def end(self) -> None:
        """Beat no more: this rank has done its work, and nobody is to miss it."""
        self._is_over.set()
        # A thread that comes back from the store's client while the interpreter ends would abort the process.
        self._thread.join(LOST_S)

    def _cause_of(self, error: PartkitError, is_consequence: bool) -> PartkitError:
        """The first cause: of another rank, where this one only lost it; else ``error``, which the others are told."""
        deadline = time.monotonic() + (_CAUSE_S if is_consequence else 0.0)
        while time.monotonic() < deadline:
            if (lost := self.lost()) is not None:
                return lost
            time.sleep(_LOOK_S)
        self._fault = error
        time.sleep(2 * BEAT_S)  # for the thread to tell it
        return error

    def _ending(self, error: PartkitError) -> PartkitError:
        """Have the process end without waiting for threads that are stuck in a collective with a rank that is gone."""

        def end() -> None:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(error.exit_code)

        atexit.register(end)
        return error

    def _beat(self) -> None:
        beats = {each.rank: (0, time.monotonic()) for each in self._ranks}
        number = 0
        while not self._is_over.wait(BEAT_S):
            with contextlib.suppress(Exception):  # whatever the store's client raises: that it does not answer
                number += 1
                self._store.set(f"beat/{self._own}", str(number))
                if self._fault is not None:
                    self._store.set(f"fault/{self._own}", self._fault.message)
                self._look(beats)
                self._answered_at = time.monotonic()
        with contextlib.suppress(Exception):
            self._store.set(f"over/{self._own}", "")

    def _look(self, beats: dict[int, tuple[int, float]]) -> None:
        now = time.monotonic()
        for each in self._ranks:
            if each.rank == self._own or self._found is not None or self._store.check([f"over/{each.rank}"]):
                continue
            if self._store.check([f"fault/{each.rank}"]):
                told = in_one_line(self._store.get(f"fault/{each.rank}").decode(errors="replace"))
                self._found = RankFailedError(told, hint=f"see what {each} says", rank=each.rank)
                return
            key = f"beat/{each.rank}"
            count = int(self._store.get(key)) if self._store.check([key]) else 0
            before, at = beats[each.rank]
            if count != before:
                beats[each.rank] = (count, now)
            elif now - at > LOST_S:
                self._found = RankFailedError(
                    f"{each} gave no sign of life for {LOST_S:.0f} s: it has ended, or the link to it is cut",
                    hint=f"see what it says, and whether {each.host} reaches {self._address}",
                    rank=each.rank,
                )
