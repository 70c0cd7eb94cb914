"""A program's end of the way that its items take: inputs into slots, counts to the ranks, outputs out of slots."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from partkit.data.orders import OpenStream
from partkit.data.places import Place
from partkit.ranks.own_folder import own_folder
from partkit.runs.slot_count import SlotCounts
from partkit.transport.buffers import copy_alone
from partkit.transport.counts import Counts
from partkit.transport.item_form import ItemForm
from partkit.transport.item_heads import ItemHeads
from partkit.transport.shared_slots import LentSlots, SharedSlots

_SHARED_MEMORY = Path("/dev/shm")


def shared_folder() -> Path:
    """Where memory that processes share is made."""
    return _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir())


class ItemChannel:
    """Items put and outputs taken, in the order of the items; one thread at a time may call it, :meth:`wait` apart."""

    def __init__(
        self,
        form: ItemForm,
        slots: SlotCounts,
        all_places: Sequence[Place],
        returning: Sequence[Place],
        open_ranks: Callable[[OpenStream], object],
    ) -> None:
        """Make slots and counts, have the ranks open them, then take their names away: nothing can stay behind.

        ``returning``: the places that return the model's output, by replica.
        """
        self.num_slots, self._form = slots.in_flight, form
        self._num_put = self._num_taken = 0
        num_outputs = slots.in_flight + slots.lent
        with own_folder(shared_folder()) as folder:
            self._inputs = SharedSlots(folder / "inputs", form.inputs, self.num_slots)
            self._outputs = LentSlots(SharedSlots(folder / "outputs", form.outputs, num_outputs), slots.lent)
            self._heads = ItemHeads(folder / "heads", form.labels, self.num_slots)
            self._output_slots = [0] * self.num_slots
            put, done = Counts(folder / "put", len(all_places)), Counts(folder / "done", len(all_places))
            put.make_bells()
            done.make_bells()
            self._put = [put.writer(place.index, waits=False) for place in all_places]
            self._done = [done.reader(place.index, waits=False) for place in returning]
            open_ranks(
                OpenStream(
                    folder=str(folder),
                    num_slots=self.num_slots,
                    num_output_slots=num_outputs,
                    outputs=tuple(form.wanted),
                )
            )

    @property
    def num_under_way(self) -> int:
        """Items that were put and whose output was not taken yet."""
        return self._num_put - self._num_taken

    @property
    def num_taken(self) -> int:
        """Outputs taken so far."""
        return self._num_taken

    @property
    def has_room(self) -> bool:
        """Whether an item can be put."""
        return self.num_under_way < self.num_slots and self._outputs.has_free

    def put(self, bound: Mapping[str, torch.Tensor], sizes: Mapping[str, int]) -> None:
        """Copy an item into a slot, which is there, and tell the ranks of it."""
        number = self._num_put
        slot = number % self.num_slots
        self._output_slots[slot] = self._outputs.claim()
        self._heads.write(number, self._output_slots[slot], sizes)
        for name, target in self._inputs.tensors(slot, self._form.inputs_of(sizes)).items():
            copy_alone(target, bound[name])
        self._num_put += 1
        for writer in self._put:
            writer.advance(self._num_put)

    @property
    def has_output(self) -> bool:
        """Whether the next output is there."""
        return self.wait(0)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the next output at most so long; returns whether it is there."""
        turn, replica = divmod(self._num_taken, len(self._done))
        reader = self._done[replica]
        return reader.count > turn or (timeout_s > 0 and reader.wait(turn, timeout_s))

    @property
    def is_alone(self) -> bool:
        """Whether the rank of the next output is gone."""
        return self._done[self._num_taken % len(self._done)].is_last

    def take(self) -> tuple[dict[str, torch.Tensor], bool]:
        """The next output, which is there, and whether it should be copied and let go, since slots are short.

        Its tensors keep its slot as long as they are kept.
        """
        slot = self._num_taken % self.num_slots
        values = self._form.outputs_of(self._heads.sizes(self._num_taken))
        is_short = self._outputs.is_short
        self._num_taken += 1
        return self._outputs.lend(self._output_slots[slot], values), is_short

    def undelivered(self) -> Iterator[tuple[dict[str, torch.Tensor], dict[str, int]]]:
        """The inputs and sizes of the items under way, in order, as they were put."""
        for number in range(self._num_taken, self._num_put):
            sizes = self._heads.sizes(number)
            yield self._inputs.tensors(number % self.num_slots, self._form.inputs_of(sizes)), sizes

    def end(self) -> None:
        """Tell the ranks that no more items will come."""
        for writer in self._put:
            writer.end()

    def close(self) -> None:
        """Close what the system holds open; outputs that were taken stay."""
        for writer in self._put:
            writer.close()
        for reader in self._done:
            reader.close()
