"""The turns of a place as data: how far it has come, and how far it may go ahead.

A turn takes one item through a place's stage. Turns go round the place's K slots, and each is in turn *posted* (its
slot is free, so that the value may come), *stepped* (computed, or on CUDA queued) and *finished* (its end was waited
for). With K = 2, after two turns were stepped of which the first has finished:

    turn             0    1    2    3    4    5 ...
    slot             0    1    0    1    0    1
    finished         x                              num_finished = 1
    stepped          x    x                         num_stepped  = 2
    posted           x    x    x    x               num_posted   = num_stepped + K
    known            x    x    x    x    x          num_known    = 5

Nothing here knows of devices: a clock (:mod:`partkit.executors.pipeline.clocks`) tells when a turn has ended.
"""

from __future__ import annotations

from collections.abc import Iterator


class TurnLedger:
    """How far one place has come; see the drawing above.

    >>> ledger = TurnLedger(num_slots=2)
    >>> ledger.learn(3)
    >>> list(ledger.post())
    [(0, None), (1, None)]
    >>> ledger.step()
    0
    >>> list(ledger.post()), ledger.num_under_way
    ([(2, 0)], 1)
    >>> ledger.finish()
    0
    """

    __slots__ = ("num_finished", "num_known", "num_posted", "num_slots", "num_stepped")

    def __init__(self, num_slots: int) -> None:
        self.num_slots = num_slots
        self.num_known = self.num_posted = self.num_stepped = self.num_finished = 0

    @property
    def num_under_way(self) -> int:
        """Turns that were stepped and have not finished."""
        return self.num_stepped - self.num_finished

    def learn(self, count: int) -> None:
        """``count`` more items will come."""
        self.num_known += count

    def post(self) -> Iterator[tuple[int, int | None]]:
        """Post each known turn whose slot's former turn was stepped; gives the turn and that former one, if any."""
        while self.num_posted < min(self.num_known, self.num_stepped + self.num_slots):
            turn = self.num_posted
            self.num_posted += 1
            yield turn, turn - self.num_slots if turn >= self.num_slots else None

    def step(self) -> int:
        """Take the next turn, which has been posted; returns which."""
        turn = self.num_stepped
        assert turn < self.num_posted, f"turn {turn} was not posted"
        self.num_stepped += 1
        return turn

    def finish(self) -> int:
        """Take note that the oldest turn under way has ended; returns which."""
        turn = self.num_finished
        assert turn < self.num_stepped, f"turn {turn} was not stepped"
        self.num_finished += 1
        return turn

    def last_to_finish(self, *, is_read: bool, ahead: int) -> int:
        """The last turn that must have finished before the next one is stepped; negative: none.

        ``is_read``: the outputs in the next turn's slot are still to be read; ``ahead``: turns that may be under
        way at once.
        """
        return self.num_stepped - (self.num_slots if is_read else ahead)
