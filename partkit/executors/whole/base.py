"""Executors that run whole items on each rank: the loop they share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Container, Sequence

import torch
from torch.utils import _pytree as pytree

from partkit.executors.info import executor_info
from partkit.executors.protocol import RankContext, Trace, flat_outputs
from partkit.machine.clock import call_s, settle
from partkit.machine.memory import require_room
from partkit.models.inputs import split_arguments
from partkit.models.of_job import item_inputs, load_job_model
from partkit.models.sources.loaded import LoadedModel
from partkit.models.structures import leaf_paths

_Marks = list[tuple[torch.cuda.Event, torch.cuda.Event]]


class WholeModelExecutor:
    """Runs the unsplit model's own forward; subclasses prepare the module in :meth:`prepare`.

    Where ranks share each item (``is_data_parallel`` is False), rank 0 alone records when it entered and ended.
    """

    is_data_parallel = False
    items_at_once = 1
    takes_streams = False
    """True where items may be dealt to several CUDA streams."""

    def __init__(self, context: RankContext) -> None:
        self._context, self._job = context, context.job
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self._devices = [context.device]
        """Every device that this process computes on."""
        self._streams: list[torch.cuda.Stream] = []
        if self.takes_streams and context.device.type == "cuda" and self._job.num_streams > 1:
            self._streams = [torch.cuda.Stream(context.device) for _ in range(self._job.num_streams)]
            self.notes.append(f"items dealt to {len(self._streams)} CUDA streams")

    def prepare(self, loaded: LoadedModel) -> torch.nn.Module:
        """The module that this rank calls, with its weights; ``self._calls`` holds the items already."""
        raise NotImplementedError

    def load(self) -> None:
        """Build the items that the run cycles through and the module."""
        loaded = load_job_model(self._job)
        if executor_info(self._job.executor).holds_whole_model:
            require_room(
                loaded.weight_bytes,
                self._context.device,
                self._job.executor,
                budget_bytes=self._job.memory_bytes,
            )
        names = [spec.name for spec in loaded.spec.inputs]
        self._calls = []
        for item in range(self._job.num_inputs):
            tensors = item_inputs(loaded.spec.resized(self._job.sizes), item, self._job.num_inputs, loaded)
            on_device = [tensor.to(self._context.device) for tensor in tensors]
            self._calls.append(split_arguments(loaded, dict(zip(names, on_device, strict=True))))
        self._module = self.prepare(loaded)

    def run(self, items: Sequence[int], *, keep: Container[int], one_at_a_time: bool) -> Trace:
        """Call the module once for each item; see :class:`Executor`."""
        trace, device, marks = Trace(), self._context.device, _Marks()
        self._settle()
        self._context.barrier()
        trace.begin = time.perf_counter()
        with torch.no_grad():
            for turn, item in enumerate(items):
                begin = time.perf_counter()
                with self._stream_of(turn):
                    outputs = self._marked(item, marks)
                if device.type == "cpu" or item in keep or one_at_a_time:
                    self._settle()
                self._note_times(trace, item, begin)
                if item in keep:
                    trace.outputs[item] = flat_outputs(outputs)
                    trace.names = trace.names or tuple(leaf_paths(pytree.tree_structure(outputs)))
        self._settle()
        self._context.barrier()
        trace.end = time.perf_counter()
        if device.type == "cuda":
            queued_s = sum(before.elapsed_time(after) for before, after in marks) / 1e3
            trace.busy_s = min(queued_s, trace.end - trace.begin)
        return trace

    def forward(self, item: int) -> object:
        """One call of the module."""
        args, kwargs = self._calls[item % len(self._calls)]
        return self._module(*args, **kwargs)

    def stage_s(self) -> dict[int, float]:
        """Seconds of a whole item, where one rank alone is the plan's only stage.

        Ranks that compute together would have to agree on the number of calls.
        """
        if self._context.world_size > 1 or len(self._job.plan.stages) > 1:
            return {}
        with torch.no_grad():
            seconds = call_s(lambda: self.forward(0), self._context.device, shared=False)
        return {0: seconds}

    def close(self) -> None:
        """Nothing is held that the process group needs."""

    def _settle(self) -> None:
        for device in self._devices:
            settle(device)

    def _marked(self, item: int, marks: _Marks) -> object:
        """One call, between two events of its stream on CUDA."""
        if self._context.device.type == "cpu":
            return self.forward(item)
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        outputs = self.forward(item)
        after.record()
        marks.append((before, after))
        return outputs

    def _note_times(self, trace: Trace, item: int, begin: float) -> None:
        now = time.perf_counter()
        trace.busy_s += now - begin
        if self.is_data_parallel or self._context.rank == 0:
            trace.entered[item] = begin
            trace.finished[item] = now

    def _stream_of(self, turn: int) -> contextlib.AbstractContextManager[object]:
        return (
            torch.cuda.stream(self._streams[turn % len(self._streams)]) if self._streams else contextlib.nullcontext()
        )
