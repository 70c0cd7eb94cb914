"""A stage in the shapes that items come in: one form for each, made when the first such item comes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from partkit.machine.clock import settle
from partkit.models.capture import Capture
from partkit.stages.cut import StageGraph, ValueSpec
from partkit.stages.materialise import materialise

MAX_FORMS = 32
"""Shapes that a stage is kept for at once; the least recently used is dropped first."""

Sizes = Mapping[str, int]


@dataclass(eq=False)
class StageForm:
    """A stage for one shape of items, with its CUDA graph and that graph's outputs for each slot."""

    stage: StageGraph
    module: Callable[..., Any]
    graphs: dict[int, torch.cuda.CUDAGraph] = field(default_factory=dict)
    outputs: dict[int, dict[str, torch.Tensor]] = field(default_factory=dict)


class StageForms:
    """The forms of a stage on one device; they share its weights. ``sizes_of`` gives the sizes of an item."""

    def __init__(
        self,
        stage: StageGraph,
        captured: Capture,
        read: Callable[[str], torch.Tensor],
        device: torch.device,
        *,
        sizes_of: Callable[[int], Sizes],
        prepare: Callable[[fx.GraphModule], Callable[..., Any]] | None = None,
    ) -> None:
        """``prepare`` makes what runs of a form's module, compiled perhaps."""
        self.stage, self.device, self._sizes_of, self._prepare = stage, device, sizes_of, prepare
        self._captured = captured
        self._read = _kept_on(device, read) if stage.symbols else read
        self._forms: OrderedDict[tuple[tuple[str, int], ...], StageForm] = OrderedDict()

    def of(self, item: int) -> StageForm:
        """The form for an item's shape."""
        sizes = self._sizes_of(item) if self.stage.symbols else {}
        key = tuple(sorted(sizes.items()))
        if key not in self._forms:
            if len(self._forms) == MAX_FORMS:
                self._drop(self._forms.popitem(last=False)[1])
            module = materialise(self.stage, self._captured, self._read, self.device, sizes=sizes or None)
            settle(self.device)  # its tensors are read on every lane's stream
            run = module if self._prepare is None else self._prepare(module)
            self._forms[key] = StageForm(self.stage.at(sizes), run)
        self._forms.move_to_end(key)
        return self._forms[key]

    def take_sizes_from(self, sizes_of: Callable[[int], Sizes]) -> None:
        """Ask somebody else for the sizes of items from now on."""
        self._sizes_of = sizes_of

    def received(self, source: int) -> Callable[[int], Sequence[ValueSpec]]:
        """What stage ``source`` sends of each item."""
        return lambda item: self.of(item).stage.receives[source]

    def fed(self, item: int) -> Sequence[ValueSpec]:
        """The stage's model inputs of an item."""
        stage = self.of(item).stage
        return stage.takes[: len(stage.model_inputs)]

    def release(self) -> None:
        """Drop every CUDA graph."""
        for form in self._forms.values():
            self._drop(form)

    def _drop(self, form: StageForm) -> None:
        if form.graphs:
            torch.cuda.synchronize(self.device)  # one of them may still be running
        form.graphs.clear()
        form.outputs.clear()


def _kept_on(device: torch.device, read: Callable[[str], torch.Tensor]) -> Callable[[str], torch.Tensor]:
    """Reads each tensor once, for all forms."""
    kept: dict[str, torch.Tensor] = {}

    def read_once(name: str) -> torch.Tensor:
        if name not in kept:
            kept[name] = read(name).to(device)
        return kept[name]

    return read_once
