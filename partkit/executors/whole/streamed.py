"""The unsplit graph on one device that cannot hold it: in windows, each with its weights streamed in and let go again.

It is the reference for outputs where no device holds the model: whatever a plan cuts, these windows part the graph
where the device's memory is full. Each run reads every weight once, however many items it has.
"""

from __future__ import annotations

import time
from collections.abc import Container, Sequence

from partkit.executors.protocol import RankContext, Trace
from partkit.machine.clock import settle
from partkit.machine.memory import free_bytes
from partkit.models.of_job import capture_job_model, item_inputs, load_job_model, tensor_reader
from partkit.stages.cut import Leaves
from partkit.stages.windows import make_windows, run_windows


class StreamedExecutor:
    """One rank with a window of the model at a time."""

    is_data_parallel = False

    def __init__(self, context: RankContext) -> None:
        self._context, self._job = context, context.job
        self.items_at_once = 1
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def load(self) -> None:
        """Capture and part the graph; no weight is read yet."""
        loaded = load_job_model(self._job)
        self._loaded = loaded
        self._captured = capture_job_model(self._job, loaded)
        self._read = tensor_reader(loaded, self._captured)
        asked, device = self._job.memory_bytes, self._context.device
        self._windows = make_windows(self._captured, free_bytes(device) if asked is None else asked)
        self.warnings.append(f"weights streamed in {len(self._windows)} windows: each run reads all of them")

    def run(self, items: Sequence[int], *, keep: Container[int], one_at_a_time: bool) -> Trace:
        """Take all items through one window after the other, or each item through all of them."""
        trace = Trace()
        settle(self._context.device)
        self._context.barrier()
        trace.begin = time.perf_counter()
        for group in [[item] for item in items] if one_at_a_time else [list(items)]:
            begin = time.perf_counter()
            leaves = self._through(group)
            end = time.perf_counter()
            trace.busy_s += end - begin
            trace.entered |= dict.fromkeys(group, begin)
            trace.finished |= dict.fromkeys(group, end)
            trace.outputs |= {item: leaves[item] for item in group if item in keep}
        self._context.barrier()
        trace.end = time.perf_counter()
        return trace

    def stage_s(self) -> dict[int, float]:
        """Nothing: its time is that of streaming, not of a stage."""
        return {}

    def close(self) -> None:
        """Nothing is held that the process group needs."""

    def _through(self, items: Sequence[int]) -> dict[int, Leaves]:
        """The outputs of items; equal ones, since inputs repeat, are computed once."""
        count = self._job.num_inputs
        distinct = sorted({item % count for item in items})
        names = [each.name for each in self._captured.spec.inputs]
        inputs = [
            dict(zip(names, item_inputs(self._job.fed, item, count, self._loaded), strict=True)) for item in distinct
        ]
        device = self._context.device
        found = run_windows(self._windows, self._captured, self._read, device, inputs, sizes=self._job.sizes or None)
        settle(device)
        leaves = dict(zip(distinct, found, strict=True))
        return {item: leaves[item % count] for item in items}
