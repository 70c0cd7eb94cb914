"""One place of a pipeline on a program's own items: a count tells how many have come, another how many have left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from partkit.executors.pipeline.runner import StageRunner
from partkit.transport.counts import Counts
from partkit.transport.item_form import ItemForm
from partkit.transport.item_heads import ItemHeads
from partkit.transport.shared_slots import SharedSlots


@dataclass(frozen=True)
class ItemMemory:
    """What a program and its ranks share of the items."""

    inputs: SharedSlots
    heads: ItemHeads
    outputs: SharedSlots


class StageStream:
    """Takes inputs from one memory and gives outputs to another; see :mod:`partkit.runs.open_pipeline`.

    The host waits for nothing but the program: outputs leave behind the computation, and those that have left are told
    together, between two turns. While it has nothing to queue it sleeps until the program has put more, or looks now
    and then whether outputs under way have left.
    """

    def __init__(self, runner: StageRunner, form: ItemForm, memory: ItemMemory, *, put: Counts, done: Counts) -> None:
        """``put`` and ``done`` have a count for each place."""
        names, place = runner.stage.model_inputs, runner.place
        self._runner, self._form, self._memory = runner, form, memory
        runner.forms.take_sizes_from(memory.heads.sizes)
        runner.feed.take_from(lambda item: self._fed(item, names))
        self._put, self._seen = put.reader(place.index), 0
        self._gives = runner.stage.leaves is not None
        if self._gives:
            self._done, self._told = done.writer(place.index), 0

    def run(self) -> None:
        """Run items until the program announces the end or is gone."""
        runner, turn, is_over = self._runner, 0, False
        runner.open(self._leave)
        with torch.inference_mode():
            while turn < runner.num_turns or not is_over:
                is_over = self._put.is_last  # looked at before the count: the last items come before the end
                self._learn()
                if turn < runner.num_turns:
                    runner.step()
                    turn += 1
                    self._tell()
                elif not is_over:
                    self._await_more()
        runner.finish()
        self._tell()

    def _await_more(self) -> None:
        """Sleep until the program has put more than the place has taken, telling meanwhile what has left."""
        look_s = self._runner.look_s if self._gives and self._runner.num_under_way else None
        self._put.wait(self._seen, look_s)
        self._runner.note_ends()
        self._tell()

    def _learn(self) -> None:
        """Have the runner know of all items that were put and fall to this place."""
        self._seen, place = self._put.count, self._runner.place
        num_own = (self._seen - place.replica + place.num_replicas - 1) // place.num_replicas
        if num_own > self._runner.num_turns:
            self._runner.learn(num_own - self._runner.num_turns)

    def _tell(self) -> None:
        if self._gives and self._runner.num_finished > self._told:
            self._told = self._runner.num_finished
            self._done.advance(self._told)

    def _leave(self, item: int, values: Mapping[str, torch.Tensor]) -> None:
        """Queue the copies of an item's outputs into its slot, or make them."""
        memory = self._memory
        slot = memory.outputs.tensors(memory.heads.output_slot(item), self._form.outputs_of(memory.heads.sizes(item)))
        for name, tensor in slot.items():
            tensor.copy_(values[name], non_blocking=True)

    def _fed(self, item: int, names: Sequence[str]) -> list[torch.Tensor]:
        memory = self._memory
        tensors = memory.inputs.tensors(item % memory.inputs.num_slots, self._form.inputs_of(memory.heads.sizes(item)))
        return [tensors[name] for name in names]
