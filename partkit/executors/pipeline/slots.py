"""A stage over K slots: static inputs and outputs, so that an item in one slot never touches another's.

On CUDA each slot has a CUDA graph of the stage, for each shape of items, that reads the slot's receive buffers and
fills its send buffers; replaying it costs one launch. On the CPU the same function runs as generated code, and so does
a stage that no CUDA graph can hold: its sizes depend on the data, or an operation of it waits for the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch

from partkit.machine.cuda_graph import NotCapturableError, capture_graph
from partkit.stages.cut import Computed, Leaves
from partkit.stages.fault import node_in
from partkit.stages.forms import StageForm, StageForms
from partkit.transport.edge import Receiver, Sender
from partkit.transport.lanes import Lanes


class Feed(Protocol):
    """Where a stage's model inputs lie."""

    def tensors(self, slot: int) -> Sequence[torch.Tensor]:
        """The slot's inputs, in the order of ``stage.model_inputs``."""

    def fit(self, slot: int, item: int) -> None:
        """Give the slot the shapes of an item."""


class StageSlots:
    """A stage's forms bound to the buffers of its edges."""

    def __init__(
        self,
        forms: StageForms,
        feed: Feed,
        receivers: Mapping[int, Receiver],
        senders: Mapping[int, Sender],
        *,
        num_slots: int,
        compute: Lanes | None,
    ) -> None:
        self.stage = forms.stage
        self._forms, self._feed, self._compute = forms, feed, compute
        self._receivers, self._senders = receivers, senders
        self._borrowed = {
            buffer.bytes.untyped_storage().data_ptr() for receiver in receivers.values() for buffer in receiver.slots
        }
        self._outputs: list[dict[str, torch.Tensor]] = [{}] * num_slots
        self.why_no_graph: str | None = None
        """Why the stage is in no CUDA graph; None where it is, and on the CPU."""
        if compute is not None and forms.stage.depends_on_data:
            self.why_no_graph = "its sizes depend on the data"
        self._uses_graphs = compute is not None and self.why_no_graph is None
        forms.of(0)  # with its weights: loading is not left to the first item
        if compute is not None and self._uses_graphs:
            num_pools = num_slots if forms.stage.leaves is not None else len(compute)
            self.pools = [torch.cuda.graph_pool_handle() for _ in range(num_pools)]
            """Memory of graphs, slot by slot. Slots of a lane run one after the other and can share it, but not where
            they hold outputs: another slot's item would overwrite those before the host has read them."""
            for slot in range(num_slots):
                self.fit(slot, item=0)
                if self._uses_graphs:
                    self._capture(forms.of(0), slot, compute)

    def run(self, slot: int, item: int) -> None:
        """Compute the slot's item and fill its send buffers; on CUDA this only queues the work."""
        form = self._forms.of(item)
        for target, sender in self._senders.items():
            sender.slots[slot].fit(form.stage.sends[target])
        if self._compute is None:
            self._call(form, slot)
            return
        torch.cuda.set_stream(
            self._compute.of(slot)
        )  # as all do that queue work: a context each time takes the host longer
        if self._uses_graphs and slot not in form.graphs:  # the first item of this shape in this slot
            self._capture(form, slot, self._compute)
        if not self._uses_graphs:
            self._call(form, slot)
            return
        form.graphs[slot].replay()
        self._outputs[slot] = form.outputs[slot]

    def outputs(self, slot: int) -> dict[str, torch.Tensor]:
        """The model's outputs that this stage gives, by value name, as computed last in the slot."""
        return self._outputs[slot]

    def release(self) -> None:
        """Drop the CUDA graphs; must come before the process group is destroyed."""
        self._forms.release()

    def use_graphs(self, *, on: bool) -> None:
        """Run with CUDA graphs or without, where the stage may be in one."""
        self._uses_graphs = on and self._compute is not None and self.why_no_graph is None

    def fit(self, slot: int, item: int) -> None:
        """Give the slot's buffers an item's shapes before any item has come."""
        self._feed.fit(slot, item)
        for receiver in self._receivers.values():
            receiver.fit(slot, item)
        for target, sender in self._senders.items():
            sender.slots[slot].fit(self._forms.of(item).stage.sends[target])

    def compute(self, slot: int, fed: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """The stage on a slot's received values and ``fed`` model inputs, in the largest shapes, without a graph of
        its own; returns the model's outputs that it gives."""
        return self._outputs_of(self._forms.of(0), slot, fed)

    def leaves_of(self, outputs: Mapping[str, torch.Tensor]) -> Leaves:
        """The model's outputs in order, on the CPU; None for those that this stage does not give."""
        assert self.stage.leaves is not None
        chosen = [outputs.get(leaf.name) if isinstance(leaf, Computed) else None for leaf in self.stage.leaves]
        return [None if value is None else value.detach().to("cpu", copy=True) for value in chosen]

    def _call(self, form: StageForm, slot: int) -> None:
        self._outputs[slot] = self._outputs_of(form, slot, self._feed.tensors(slot))

    def _outputs_of(self, form: StageForm, slot: int, fed: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        inputs = list(fed)
        for receiver in self._receivers.values():
            inputs.extend(receiver.tensors(slot))
        given = dict(zip(form.stage.gives, form.module(*inputs), strict=True))
        for target, sender in self._senders.items():
            for value, buffer in zip(form.stage.sends[target], sender.slots[slot].tensors, strict=True):
                buffer.copy_(given[value.name])
        outputs = {name: given[name] for name in form.stage.outputs}
        return {name: self._own(value) for name, value in outputs.items() if isinstance(value, torch.Tensor)}

    def _own(self, value: torch.Tensor) -> torch.Tensor:
        """A copy of an output that is, or is a view of, a receive buffer: the slot's next item would overwrite it."""
        return value.clone() if value.untyped_storage().data_ptr() in self._borrowed else value

    def _capture(self, form: StageForm, slot: int, lanes: Lanes) -> None:
        """The slot's graph for one shape; none from now on where CUDA refuses it."""
        compute = lanes.of(slot)
        is_warm = any(lanes.lane(other) == lanes.lane(slot) for other in form.graphs)
        with torch.cuda.stream(compute):
            for _ in range(0 if is_warm else 3):  # libraries set up each stream's workspaces, which no graph can hold
                self._call(form, slot)
        compute.synchronize()
        graph, pool = torch.cuda.CUDAGraph(), self.pools[slot % len(self.pools)]
        try:
            capture_graph(graph, lambda: self._call(form, slot), stream=compute, pool=pool)
        except NotCapturableError as error:
            node = node_in(error.__cause__) if error.__cause__ is not None else None
            self.why_no_graph, self._uses_graphs = f"{error} (node {node})" if node else str(error), False
            return
        form.graphs[slot], form.outputs[slot] = graph, self._outputs[slot]
