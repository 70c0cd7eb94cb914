"""One place of a pipeline on a program's own items, of which tokens tell one by one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from partkit.executors.stage_runner import StageRunner
from partkit.items import ItemForm
from partkit.transport.ring import SharedRing
from partkit.transport.tokens import END, ITEM, TokenReader, TokenWriter


class StageStream:
    """Takes inputs from one ring and gives outputs to another; see :mod:`partkit.pipeline` for the whole way."""

    def __init__(
        self, runner: StageRunner, form: ItemForm, inputs: SharedRing, outputs: SharedRing, folder: Path
    ) -> None:
        names, index = runner.stage.model_inputs, runner.place.index
        self._runner, self._outputs = runner, outputs
        self._go = TokenReader(folder / f"go-{index}")
        runner.feed.take_from(lambda item: [inputs.tensors(item)[name] for name in names])
        if runner.stage.leaves is not None:
            self._done = TokenWriter(folder / f"done-{index}")
            values = {value.name for value in form.outputs}
            pairs = zip(form.leaves, runner.stage.leaves, strict=True)
            self._name_by_value = {name: str(leaf) for name, leaf in pairs if isinstance(name, str) and name in values}

    def run(self) -> None:
        """Take items until the end is told, or the program is gone."""
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
                    runner.step(turn)
                    turn += 1
        runner.finish()

    def _give(self, item: int, values: Mapping[str, torch.Tensor]) -> None:
        slot = self._outputs.tensors(item)
        for name, value in self._name_by_value.items():
            slot[name].copy_(values[value])
        self._done.put(ITEM)
