"""A stage over K slots: static inputs and outputs, so that an item in one slot never touches another's.

On CUDA each slot has a CUDA graph of the stage that reads the slot's receive buffers and fills its send
buffers; replaying it costs one launch. On the CPU the same function runs as generated code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch

from partkit.stages import StageGraph
from partkit.transport.edge import Receiver, Sender


class Feed(Protocol):
    """Where a stage's model inputs lie."""

    def tensors(self, slot: int) -> Sequence[torch.Tensor]:
        """The slot's inputs, in the order of ``stage.model_inputs``."""


class StageSlots:
    """A materialised stage bound to the buffers of its edges."""

    def __init__(
        self,
        module: Callable[..., Any],
        stage: StageGraph,
        feed: Feed,
        receivers: Mapping[int, Receiver],
        senders: Mapping[int, Sender],
        *,
        num_slots: int,
        compute: torch.cuda.Stream | None,
    ) -> None:
        self._module, self._stage, self._feed, self._compute = module, stage, feed, compute
        self._receivers, self._senders = receivers, senders
        self._borrowed = {
            buffer.bytes.untyped_storage().data_ptr() for receiver in receivers.values() for buffer in receiver.slots
        }
        self._outputs: list[dict[str, torch.Tensor]] = [{}] * num_slots
        self._graphs: list[torch.cuda.CUDAGraph] = []
        if compute is not None:
            self._capture_all(num_slots, compute)

    def run(self, slot: int) -> None:
        """Compute the slot's item and fill its send buffers; on CUDA this only queues the work."""
        if self._compute is None:
            self._call(slot)
            return
        with torch.cuda.stream(self._compute):
            if self._graphs:
                self._graphs[slot].replay()
            else:
                self._call(slot)

    def outputs(self, slot: int) -> dict[str, torch.Tensor]:
        """The model's outputs that this stage gives, by value name, as computed last in the slot."""
        return self._outputs[slot]

    def release(self) -> None:
        """Drop the CUDA graphs; must come before the process group is destroyed."""
        self._graphs.clear()

    def withdraw(self) -> list[torch.cuda.CUDAGraph]:
        """Run without CUDA graphs from now on; gives them back for :meth:`restore`."""
        graphs, self._graphs = self._graphs, []
        self._graphed_outputs = list(self._outputs)
        return graphs

    def restore(self, graphs: list[torch.cuda.CUDAGraph]) -> None:
        """Run with withdrawn graphs again."""
        self._graphs, self._outputs = graphs, self._graphed_outputs

    def _call(self, slot: int) -> None:
        inputs = list(self._feed.tensors(slot))
        for receiver in self._receivers.values():
            inputs.extend(receiver.tensors(slot))
        given = dict(zip(self._stage.gives, self._module(*inputs), strict=True))
        for target, sender in self._senders.items():
            for value, buffer in zip(self._stage.sends[target], sender.slots[slot].tensors, strict=True):
                buffer.copy_(given[value.name])
        leaves = [leaf for leaf in self._stage.leaves or () if isinstance(leaf, str) and leaf in given]
        self._outputs[slot] = {leaf: self._own(given[leaf]) for leaf in leaves}

    def _own(self, value: torch.Tensor) -> torch.Tensor:
        """A copy of an output that is, or looks into, a receive buffer: the slot's next item would overwrite it."""
        return value.clone() if value.untyped_storage().data_ptr() in self._borrowed else value

    def _capture_all(self, num_slots: int, compute: torch.cuda.Stream) -> None:
        """One graph a slot. They share a memory pool: they never run at once, and outputs stay allocated."""
        pool = torch.cuda.graph_pool_handle()
        with torch.cuda.stream(compute):
            for _ in range(3):  # libraries set up their workspaces in the first calls, which a graph cannot hold
                self._call(0)
        compute.synchronize()
        for slot in range(num_slots):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool, stream=compute, capture_error_mode="thread_local"):
                self._call(slot)
            self._graphs.append(graph)
