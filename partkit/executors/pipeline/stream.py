"""One place of a pipeline on a program's own items: a token through a pipe announces each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from partkit.executors.pipeline.runner import StageRunner
from partkit.transport.item_form import ItemForm, item_sizes
from partkit.transport.ring import SharedRing
from partkit.transport.tokens import END, ITEM, TokenReader, TokenWriter


class StageStream:
    """Takes inputs from one ring and gives outputs to another; see :mod:`partkit.runs.open_pipeline`."""

    def __init__(
        self, runner: StageRunner, form: ItemForm, rings: tuple[SharedRing, SharedRing, SharedRing], folder: Path
    ) -> None:
        """``rings`` hold the items' inputs, sizes and outputs."""
        inputs, sizes, outputs = rings
        names, index = runner.stage.model_inputs, runner.place.index
        self._runner, self._form, self._sizes, self._outputs = runner, form, sizes, outputs
        runner.forms.take_sizes_from(self._sizes_of)
        self._go = TokenReader(folder / f"go-{index}")
        runner.feed.take_from(lambda item: self._fed(inputs, item, names))
        if runner.stage.leaves is not None:
            self._done = TokenWriter(folder / f"done-{index}")

    def run(self) -> None:
        """Run items until the program announces the end or is gone."""
        runner = self._runner
        runner.open(self._give)
        has_more, turn = True, 0
        with torch.inference_mode():
            while has_more or turn < runner.num_turns:
                num_ahead = runner.num_turns - turn
                if num_ahead == 0:
                    runner.finish()  # the program may be waiting for just these
                if has_more and num_ahead < runner.num_slots:
                    tokens = self._go.take(runner.num_slots - num_ahead, timeout_s=None if num_ahead == 0 else 0)
                    runner.learn(tokens.count(ITEM))
                    has_more = END not in tokens
                if turn < runner.num_turns:
                    runner.step()
                    turn += 1
        runner.finish()

    def _give(self, item: int, values: Mapping[str, torch.Tensor]) -> None:
        slot = self._outputs.tensors_as(item, self._form.outputs_of(self._sizes_of(item)))
        for name, tensor in slot.items():
            tensor.copy_(values[name])
        self._done.put(ITEM)

    def _sizes_of(self, item: int) -> dict[str, int]:
        return item_sizes(self._form, self._sizes, item)

    def _fed(self, inputs: SharedRing, item: int, names: Sequence[str]) -> list[torch.Tensor]:
        tensors = inputs.tensors_as(item, self._form.inputs_of(self._sizes_of(item)))
        return [tensors[name] for name in names]
