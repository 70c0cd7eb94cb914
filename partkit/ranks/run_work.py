"""What a rank of a :class:`RunJob` does: its part of an executor, checked and timed."""

from __future__ import annotations

import contextlib
import gc
import time
from pathlib import Path
from typing import Any, ClassVar, cast

import torch

from partkit.data.orders import (
    CheckOutputs,
    CopyReference,
    Load,
    OpenStream,
    RunItems,
    RunOrder,
    ServeStream,
    TimeFilling,
    TimeStages,
    WriteReference,
)
from partkit.data.progress import ProgressFile
from partkit.data.replies import (
    DeviceUse,
    Done,
    FillingTimed,
    ItemsRun,
    Loaded,
    OutputsChecked,
    ReferenceWritten,
    Reply,
    StageSeconds,
)
from partkit.executors import make_executor
from partkit.executors.protocol import (
    Executor,
    FillingExecutor,
    RankContext,
    RecordingExecutor,
    ScheduledExecutor,
    StreamingExecutor,
    TellsTurns,
    Trace,
    TriesLoop,
)
from partkit.machine.environment import host_peak_bytes
from partkit.machine.gpu_sampler import GpuSampler
from partkit.models.fast_path import without_fast_path
from partkit.ranks.cast_error import measure_cast_error
from partkit.ranks.outputs import compare_outputs, write_outputs
from partkit.ranks.own_folder import require_new_file, require_own_folder
from partkit.ranks.references import References
from partkit.stages.load_tensors import LOADS

_SETTLED_AFTER = 0.2
"""Share of a run's outputs after which the pipeline is full and the steady rate is counted."""


class RunWork:
    """One rank's part of a run."""

    orders: ClassVar[Any] = RunOrder

    def __init__(self, context: RankContext, own_devices: tuple[int, ...]) -> None:
        self._context, self._job = context, context.job
        self._executor: Executor | None = None
        self._references = References(context)
        self._samplers = {index: GpuSampler(index) for index in own_devices} if context.device.type == "cuda" else {}

    def obey(self, order: RunOrder) -> Reply:
        """Do one order."""
        match order:
            case Load():
                return self._load(order)
            case WriteReference():
                return self._write_reference(order)
            case CopyReference():
                self._references.take(order.reference)
                return Done()
            case CheckOutputs():
                return self._check(order)
            case TimeStages():
                return StageSeconds(seconds_by_place=self._ready().stage_s())
            case TimeFilling():
                filling = cast("FillingExecutor", self._ready())
                return FillingTimed(seconds=tuple(filling.launch_s(batch, lanes) for batch, lanes in order.pairs))
            case RunItems():
                return self._run(order)
            case OpenStream():
                require_own_folder(Path(order.folder))
                cast("StreamingExecutor", self._ready()).open_stream(order)
                return Done()
            case ServeStream():
                cast("StreamingExecutor", self._ready()).stream()
                return Done()

    def turns(self) -> dict[int, int]:
        """Turns that each stage of this rank has taken; empty where the executor takes none."""
        return self._executor.turns() if isinstance(self._executor, TellsTurns) else {}

    def close(self) -> None:
        """Release the executor, and what was copied for it."""
        self._references.close()
        if self._executor is not None:
            self._executor.close()
            self._executor = None

    def _load(self, order: Load) -> Loaded:
        begin = time.perf_counter()
        if order.progress:
            file = ProgressFile(require_new_file(Path(f"{order.progress}{self._context.rank}")))
            LOADS.tell = lambda num_bytes: file.write(num_bytes, 0)
        self._executor = make_executor(self._context)
        self._executor.load()
        if isinstance(self._executor, TriesLoop):
            self._executor.choose_loop()
        gc.collect()
        gc.freeze()  # a collection within a run would look at every object of torch's, for 0.3 s
        return Loaded(
            load_s=time.perf_counter() - begin,
            weight_bytes=LOADS.num_bytes,
            weights_s=LOADS.seconds,
            is_data_parallel=self._executor.is_data_parallel,
            items_at_once=self._executor.items_at_once,
            warnings=tuple(self._executor.warnings),
            notes=tuple(self._executor.notes),
        )

    def _write_reference(self, order: WriteReference) -> ReferenceWritten:
        trace = self._checked_run(order.num_items)
        cast_error = measure_cast_error(self._context, trace.outputs)
        path = require_new_file(Path(order.path))
        return ReferenceWritten(num_tensors=write_outputs(trace, path, cast_error))

    def _check(self, order: CheckOutputs) -> OutputsChecked:
        trace = self._checked_run(order.num_items)
        compared = compare_outputs(trace, self._references.path(order.reference), num_inputs=self._job.num_inputs)
        return OutputsChecked(difference=compared)

    def _checked_run(self, num_items: int) -> Trace:
        """A run for its outputs."""
        with without_fast_path():
            return self._ready().run(range(num_items), keep=range(num_items), one_at_a_time=False)

    def _run(self, order: RunItems) -> ItemsRun:
        """A timed run; rates are of this rank's own outputs."""
        for sampler in self._samplers.values():
            sampler.start()
        with without_fast_path() if order.sample else contextlib.nullcontext():
            trace = self._trace(order)
        tells_times = order.one_at_a_time or order.rate_per_s is not None
        return ItemsRun(
            begin=trace.begin,
            end=trace.end,
            busy=trace.busy_s / (trace.end - trace.begin),
            num_finished=len(trace.finished),
            steady_per_s=steady_rate(list(trace.finished.values())),
            uses=self._device_uses(),
            host_peak_bytes=host_peak_bytes(),
            entered_at=tuple(trace.entered.items()) if tells_times else (),
            finished_at=tuple(trace.finished.items()) if tells_times else (),
            events=tuple(trace.events),
            sample=compare_outputs(trace, self._references.path(order.reference), num_inputs=self._job.num_inputs)
            if order.reference is not None
            else None,
        )

    def _trace(self, order: RunItems) -> Trace:
        items = range(order.num_items)
        if order.records:
            return cast("RecordingExecutor", self._ready()).run_recorded(items)
        if order.rate_per_s is None:
            return self._ready().run(items, keep=frozenset(order.sample), one_at_a_time=order.one_at_a_time)
        scheduled = cast("ScheduledExecutor", self._ready())
        return scheduled.run_at_rate(items, rate_per_s=order.rate_per_s, seed=0)

    def _device_uses(self) -> tuple[DeviceUse, ...]:
        """Utilisation since the samplers' start and peak memory so far, by device of this rank."""
        if not self._samplers:
            return (DeviceUse(device="cpu", peak_bytes=host_peak_bytes()),)
        uses = []
        for index, sampler in self._samplers.items():
            device, peak_bytes, seen = f"cuda:{index}", torch.cuda.max_memory_allocated(index), sampler.stop()
            if seen is None:
                uses.append(DeviceUse(device=device, peak_bytes=peak_bytes))
                continue
            uses.append(
                DeviceUse(
                    device=device,
                    gpu_util_mean=seen.util_mean,
                    gpu_util_max=seen.util_max,
                    throttled_by=seen.throttled_by,
                    gpu_util_over_time=seen.util_over_time,
                    peak_bytes=peak_bytes,
                )
            )
        return tuple(uses)

    def _ready(self) -> Executor:
        assert self._executor is not None, "an order before 'load'"
        return self._executor


def steady_rate(finished: list[float]) -> float | None:
    """Outputs per second once the pipeline is full; None for too few outputs, or all of them at once.

    >>> steady_rate([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    1.0
    """
    if not finished:
        return None
    since, last = finished[int(len(finished) * _SETTLED_AFTER)], finished[-1]
    later = sum(end > since for end in finished)  # several may end at once
    return later / (last - since) if later else None
