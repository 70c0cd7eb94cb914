"""In which order the places of a pipeline take their turns, where one thread queues the work of several.

A thread that queues what waits for work it has yet to queue waits for ever. So all ranks follow one order, in which
whatever a turn needs has come before it:

    the item's turn at each stage that sends to this one               what the turn reads
    the turn K items earlier at each place that this one sends to      which frees the slot that the turn fills

A turn with an earlier number depends on nothing with a later one, so the earliest turn that has not ended can always
go on: on whatever rank, over whatever edges, and also where streams share a hardware queue. Turns come in rounds, in
each of which every place takes at most one, as clock ticks:

    round           0    1    2    3
    stage 0        [0]  [1]  [2]  [3]
    stage 2                  [0]  [1]      with values from stage 1, which had them in the round before
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from partkit.data.places import Place


def turns_in_order(
    all_places: Sequence[Place],
    sources: Mapping[int, Collection[int]],
    num_slots: int,
    items: Callable[[Place], Sequence[int]],
) -> Iterator[tuple[Place, int]]:
    """Each place's turns, those of all places together in the pipeline's order.

    ``sources`` names the stages that send to a stage; ``items`` gives a place's items, those of its replica in order.

    >>> chain = [Place(0, 0, 0, 1, 0), Place(1, 1, 0, 1, 0)]
    >>> [(place.stage, turn) for place, turn in turns_in_order(chain, {1: [0]}, 2, lambda _: range(2))]
    [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    order = _Order(all_places, sources, num_slots, items)
    while order.is_under_way:
        ready = [place for place in order.places if order.is_ready(place)]
        assert ready, "no place of the pipeline can take its next turn"
        for place in ready:
            yield place, order.take(place)


class _Order:
    """How far each place has come."""

    def __init__(
        self,
        all_places: Sequence[Place],
        sources: Mapping[int, Collection[int]],
        num_slots: int,
        items: Callable[[Place], Sequence[int]],
    ) -> None:
        self.places = sorted(all_places, key=lambda place: (place.stage, place.replica))
        self._items = {place.index: items(place) for place in self.places}
        self._done = dict.fromkeys(self._items, 0)
        self._left = sum(map(len, self._items.values()))
        by_stage: dict[int, list[Place]] = {}
        for place in self.places:
            by_stage.setdefault(place.stage, []).append(place)
        self._before = {stage: [by_stage[source] for source in sources.get(stage, ())] for stage in by_stage}
        self._behind = {
            stage: [by_stage[target] for target in by_stage if stage in sources.get(target, ())] for stage in by_stage
        }
        self._num_slots = num_slots

    @property
    def is_under_way(self) -> bool:
        return self._left > 0

    def take(self, place: Place) -> int:
        """Count the place's next turn as taken; returns its number."""
        turn = self._done[place.index]
        self._done[place.index] = turn + 1
        self._left -= 1
        return turn

    def is_ready(self, place: Place) -> bool:
        """Whether all that the place's next turn needs has had its turn."""
        turn, items = self._done[place.index], self._items[place.index]
        if turn == len(items):
            return False
        item = items[turn]
        return all(self._has_taken(peers, item, 0) for peers in self._before[place.stage]) and all(
            self._has_taken(peers, item, self._num_slots) for peers in self._behind[place.stage]
        )

    def _has_taken(self, peers: Sequence[Place], item: int, earlier: int) -> bool:
        """Whether the place that takes an item has taken its turn ``earlier`` turns before it."""
        peer = peers[item % len(peers)]
        items = self._items[peer.index]
        turn = (item - items[0]) // len(peers) if items else 0
        return self._done[peer.index] > turn - earlier
