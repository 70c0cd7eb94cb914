"""Executors that run whole items on each rank: the loop they share."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from partkit.executors.clock import call_s, settle
from partkit.executors.loading import flat_outputs, item_inputs, load_job_model
from partkit.executors.protocol import RankContext, Trace
from partkit.inputs import split_arguments
from partkit.sources.loaded import LoadedModel


class WholeModelExecutor:
    """Runs the unsplit model's own forward; subclasses prepare the module in :meth:`prepare`."""

    is_data_parallel = False

    def __init__(self, context: RankContext) -> None:
        self._context, self._job = context, context.job
        self.warnings: list[str] = []

    def prepare(self, loaded: LoadedModel) -> torch.nn.Module:
        """The module that this rank calls, with its weights."""
        raise NotImplementedError

    def load(self) -> None:
        """Build the module and the items that the run cycles through."""
        loaded = load_job_model(self._job)
        self._module = self.prepare(loaded)
        names = [spec.name for spec in loaded.spec.inputs]
        self._calls = []
        for item in range(self._job.num_inputs):
            tensors = item_inputs(loaded.spec.resized(self._job.sizes), item, self._job.num_inputs)
            on_device = [tensor.to(self._context.device) for tensor in tensors]
            self._calls.append(split_arguments(loaded, dict(zip(names, on_device, strict=True))))

    def run(self, items: Sequence[int], *, keep: bool, one_at_a_time: bool) -> Trace:
        """Call the module once for each item; see :class:`Executor`."""
        trace, device = Trace(), self._context.device
        settle(device)
        self._context.barrier()
        trace.begin = time.perf_counter()
        with torch.no_grad():
            for item in items:
                begin = time.perf_counter()
                outputs = self.forward(item)
                if device.type == "cpu" or keep or one_at_a_time:
                    settle(device)
                trace.entered[item] = begin
                trace.finished[item] = time.perf_counter()
                trace.busy_s += trace.finished[item] - begin
                if keep:
                    trace.outputs[item] = flat_outputs(outputs)
        settle(device)
        self._context.barrier()
        trace.end = time.perf_counter()
        if device.type == "cuda":
            trace.busy_s = trace.end - trace.begin
        return trace

    def forward(self, item: int) -> object:
        """One call of the module."""
        args, kwargs = self._calls[item % len(self._calls)]
        return self._module(*args, **kwargs)

    def stage_s(self) -> dict[int, float]:
        """Seconds of a whole item, where one rank alone is the plan's only stage.

        Ranks that compute together would have to agree on the number of calls.
        """
        if self._context.world_size > 1 or self._job.plan is None or len(self._job.plan.stages) > 1:
            return {}
        with torch.no_grad():
            seconds = call_s(lambda: self.forward(0), self._context.device, shared=False)
        return {0: seconds}

    def close(self) -> None:
        """Nothing is held that the process group needs."""
