"""A stage over K slots: static inputs and outputs, so that an item in one slot never touches another's.

On CUDA each slot has a CUDA graph of the stage that reads the slot's receive buffers and fills its send
buffers; replaying it costs one launch. On the CPU the same function runs as generated code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import fx

from partkit.stages import StageGraph
from partkit.transport.wiring import Receiver, Sender


class StageSlots:
    """A materialised stage bound to the buffers of its edges."""

    def __init__(
        self,
        module: fx.GraphModule,
        stage: StageGraph,
        receivers: Mapping[int, Receiver],
        senders: Mapping[int, Sender],
        *,
        num_slots: int,
        compute: torch.cuda.Stream | None,
    ) -> None:
        self._module, self._stage, self._compute = module, stage, compute
        self._receivers, self._senders = receivers, senders
        self._borrowed = {
            buffer.bytes.untyped_storage().data_ptr() for receiver in receivers.values() for buffer in receiver.slots
        }
        self._num_fed = len(stage.model_inputs)
        self._fed = [self._blank_inputs() for _ in range(num_slots)]
        self._given: list[tuple[torch.Tensor, ...]] = [()] * num_slots
        self._graphs = [] if compute is None else [self._capture(slot) for slot in range(num_slots)]

    def feed(self, slot: int, tensors: Sequence[torch.Tensor]) -> None:
        """Set the model inputs that this stage takes, in the order of ``stage.model_inputs``."""
        if self._compute is None:
            self._fed[slot] = list(tensors)
            return
        for buffer, tensor in zip(self._fed[slot], tensors, strict=True):
            buffer.copy_(tensor, non_blocking=True)

    def run(self, slot: int) -> None:
        """Compute the slot's item and fill its send buffers; on CUDA this only queues the work."""
        if self._compute is not None:
            self._graphs[slot].replay()
        else:
            self._call(slot)

    def outputs(self, slot: int) -> dict[str, torch.Tensor]:
        """The stage's given values by name, as computed last in the slot."""
        return dict(zip(self._stage.gives, self._given[slot], strict=True))

    def release(self) -> None:
        """Drop the CUDA graphs; must come before the process group is destroyed."""
        self._graphs.clear()

    def _call(self, slot: int) -> None:
        inputs = list(self._fed[slot])
        for receiver in self._receivers.values():
            inputs.extend(receiver.slots[slot].tensors)
        given = self._module(*inputs)
        if self._stage.leaves is not None:
            given = tuple(value.clone() if self._is_borrowed(value) else value for value in given)
        self._given[slot] = given
        values = self.outputs(slot)
        for target, sender in self._senders.items():
            for value, buffer in zip(self._stage.sends[target], sender.slots[slot].tensors, strict=True):
                buffer.copy_(values[value.name])

    def _is_borrowed(self, value: torch.Tensor) -> bool:
        """True for an output that is, or looks into, a receive buffer: the slot's next item would overwrite it."""
        return value.untyped_storage().data_ptr() in self._borrowed

    def _blank_inputs(self) -> list[torch.Tensor]:
        device = torch.device("cpu") if self._compute is None else self._compute.device
        return [
            torch.zeros(value.shape, dtype=value.dtype, device=device) for value in self._stage.takes[: self._num_fed]
        ]

    def _capture(self, slot: int) -> torch.cuda.CUDAGraph:
        assert self._compute is not None
        with torch.cuda.stream(self._compute):
            for _ in range(2):  # libraries set up their workspaces in the first calls, which a graph cannot hold
                self._call(slot)
        self._compute.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._compute, capture_error_mode="thread_local"):
            self._call(slot)
        return graph
