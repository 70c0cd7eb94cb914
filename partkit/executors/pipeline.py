"""The pipeline: one process a device, every stage busy on a different item.

    item            0    1    2    3
    stage 0        [0]  [1]  [2]  [3]              slot of an item = its turn on this rank mod K
    stage 1             [0]  [1]  [2]  [3]         a slot's buffers are reused K turns later

One loop serves gloo and NCCL: a channel's ``wait`` and ``ready`` hold back the host on the CPU and the compute
stream on CUDA, where the host runs ahead and looks at outputs K items behind.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from partkit.executors.clock import call_s, settle
from partkit.executors.loading import capture_job_model, item_inputs, load_job_model, tensor_reader
from partkit.executors.protocol import Leaves, RankContext, Trace
from partkit.executors.stage_slots import StageSlots
from partkit.machine import num_cores
from partkit.stages import StageGraph, cut, materialise
from partkit.transport.wiring import Wiring, places


class PipelineExecutor:
    """This rank's stage of a plan."""

    is_data_parallel = False
    note: str | None = None

    def __init__(self, context: RankContext) -> None:
        assert context.job.plan is not None
        self._context, self._job, self._plan = context, context.job, context.job.plan
        self._place = places(self._plan)[context.rank]
        self._compute = torch.cuda.Stream(context.device) if context.device.type == "cuda" else None

    def load(self) -> None:
        """Capture, cut, read this stage's tensors and open its edges."""
        loaded = load_job_model(self._job)
        captured = capture_job_model(self._job, loaded)
        stages = cut(captured, self._plan.stage_by_node, len(self._plan.stages))
        self._stage: StageGraph = stages[self._place.stage]
        module = materialise(self._stage, captured, tensor_reader(loaded, captured), self._context.device)
        num_slots = self._job.num_slots
        wiring = Wiring(self._plan, stages, self._context.rank, num_slots=num_slots, compute=self._compute)
        self._receivers, self._senders = wiring.receivers, wiring.senders
        with torch.inference_mode():
            self._slots = StageSlots(
                module, self._stage, self._receivers, self._senders, num_slots=num_slots, compute=self._compute
            )
        names = [spec.name for spec in captured.spec.inputs]
        wanted = [names.index(name) for name in self._stage.model_inputs]
        self._inputs = [self._own_inputs(item, wanted) for item in range(self._job.num_inputs)] if wanted else []

    def run(self, items: Sequence[int], *, keep: bool, one_at_a_time: bool) -> Trace:
        """Run the items that fall to this rank; see :class:`Executor`."""
        trace = Trace()
        mine = items[self._place.replica :: self._place.num_replicas]
        settle(self._context.device)
        self._context.barrier()
        trace.begin = time.perf_counter()
        with torch.inference_mode():
            if one_at_a_time:
                for item in items:
                    self._pass([item] if item in mine else [], trace, keep)
                    self._context.barrier()
            else:
                self._pass(mine, trace, keep)
        settle(self._context.device)
        self._context.barrier()
        trace.end = time.perf_counter()
        return trace

    def stage_s(self) -> float | None:
        """The stage alone, on whatever its buffers hold, while the other ranks do the same."""
        shared = self._context.world_size * self._job.threads > num_cores()
        self._context.barrier()
        with torch.inference_mode():
            seconds = call_s(lambda: self._slots.run(0), self._context.device, shared=shared)
        self._context.barrier()
        return seconds

    def close(self) -> None:
        """Release CUDA graphs before the process group goes."""
        settle(self._context.device)
        self._slots.release()

    def _own_inputs(self, item: int, wanted: Sequence[int]) -> list[torch.Tensor]:
        tensors = item_inputs(self._job.model, item, self._job.num_inputs)
        chosen = [tensors[index] for index in wanted]
        return [tensor.pin_memory() for tensor in chosen] if self._compute is not None else chosen

    def _pass(self, items: Sequence[int], trace: Trace, keep: bool) -> None:
        """Take items through this stage, receives posted K ahead, sends left to finish on their own."""
        num_slots = self._job.num_slots
        for turn, item in enumerate(items[:num_slots]):
            self._post(turn % num_slots, item)
        waiting: list[tuple[int, int, torch.cuda.Event]] = []
        for turn, item in enumerate(items):
            slot = turn % num_slots
            if len(waiting) >= num_slots:
                self._finish(*waiting.pop(0), trace, keep)
            for receiver in self._receivers.values():
                receiver.wait(slot)
            for sender in self._senders.values():
                sender.ready(slot)
            self._compute_item(slot, item, trace)
            if turn + num_slots < len(items):
                self._post(slot, items[turn + num_slots])
            for sender in self._senders.values():
                sender.send(slot, item)
            if self._compute is None:
                self._note_output(slot, item, trace, keep)
            else:
                waiting.append((slot, item, self._compute.record_event()))
        for slot, item, done in waiting:
            self._finish(slot, item, done, trace, keep)
        for sender in self._senders.values():
            for slot in range(num_slots):
                sender.ready(slot)

    def _post(self, slot: int, item: int) -> None:
        for receiver in self._receivers.values():
            receiver.post(slot, item)

    def _compute_item(self, slot: int, item: int, trace: Trace) -> None:
        begin = time.perf_counter()
        if self._stage.model_inputs:
            trace.entered.append(begin)
        if self._compute is None:
            if self._inputs:
                self._slots.feed(slot, self._inputs[item % len(self._inputs)])
            self._slots.run(slot)
            trace.busy_s += time.perf_counter() - begin
            return
        with torch.cuda.stream(self._compute):
            if self._inputs:
                self._slots.feed(slot, self._inputs[item % len(self._inputs)])
            self._slots.run(slot)

    def _finish(self, slot: int, item: int, done: torch.cuda.Event, trace: Trace, keep: bool) -> None:
        """Wait for an item K turns back: bounds how far the host runs ahead and stamps its end."""
        done.synchronize()
        self._note_output(slot, item, trace, keep)

    def _note_output(self, slot: int, item: int, trace: Trace, keep: bool) -> None:
        if self._stage.leaves is None:
            return
        trace.finished.append(time.perf_counter())
        if keep:
            trace.outputs[item] = self._leaves(slot)

    def _leaves(self, slot: int) -> Leaves:
        values = self._slots.outputs(slot)
        assert self._stage.leaves is not None
        chosen = [values.get(leaf) if isinstance(leaf, str) else None for leaf in self._stage.leaves]
        return [None if value is None else value.detach().to("cpu", copy=True) for value in chosen]
