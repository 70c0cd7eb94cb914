"""The pipeline: stages on their devices, every stage busy on a different item.

Usually a rank hosts one place. Where it hosts several (fewer devices than stages, or a device split in one
process), one thread queues the work of all of them on CUDA, in the order of :mod:`partkit.executors.pipeline.order`,
and on the CPU each has a thread.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Container, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from partkit.data.orders import OpenStream
from partkit.data.places import Place, places
from partkit.executors.pipeline.loop import turns_of_a_loop
from partkit.executors.pipeline.loop_choice import LoopTrial, decision, is_tried, pays, refusal
from partkit.executors.pipeline.order import turns_in_order
from partkit.executors.pipeline.room import require_room_for
from partkit.executors.pipeline.runner import StageRunner
from partkit.executors.pipeline.stream import ItemMemory, StageStream
from partkit.executors.pipeline.threads import run_side_by_side
from partkit.executors.protocol import RankContext, Trace
from partkit.machine.clock import settle
from partkit.machine.devices import num_cores
from partkit.models.capture import Capture, random_draws
from partkit.models.of_job import capture_job_model, item_inputs, load_job_model, runnable, tensor_reader
from partkit.stages.cut import StageGraph, cut_plan
from partkit.stages.forms import StageForms
from partkit.transport.counts import Counts
from partkit.transport.host import HostFeed, Source
from partkit.transport.item_form import ItemForm
from partkit.transport.item_heads import ItemHeads
from partkit.transport.lanes import Lanes, lanes_on
from partkit.transport.shared_slots import SharedSlots
from partkit.transport.wiring import Wiring

_TRIAL_ITEMS = 8
"""Items of a trial run per replica: enough to compare the host's time with the device's."""


class PipelineExecutor:
    """This rank's places of a plan."""

    is_data_parallel = False
    only_nccl = False
    """True where CUDA ranks send over NCCL even within a host."""

    def __init__(self, context: RankContext) -> None:
        self._context, self._job, self._plan = context, context.job, context.job.plan
        self._places = places(self._plan, self._job.host_by_place)
        self._mine = [place for place in self._places if place.rank == context.rank]
        self._runners: list[StageRunner] = []
        self._shared_slots: list[SharedSlots] = []
        self._wiring: Wiring | None = None
        self.items_at_once = 1
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def load(self) -> None:
        """Capture, cut, read the tensors of this rank's stages and open their edges."""
        loaded = load_job_model(self._job)
        self._loaded = loaded
        captured = capture_job_model(self._job, loaded)
        self._captured = captured
        draws = random_draws(captured) if self._context.rank == 0 else None
        if draws is not None:
            self.warnings.append(draws)
        read = tensor_reader(loaded, captured)
        stages = cut_plan(captured, self._plan)
        self._sources = [tuple(stage.receives) for stage in stages]
        compute = {place.index: self._lanes(place) for place in self._mine}
        for lanes in compute.values():
            if lanes is not None:  # kernels launched on two streams of a process slow each later one: pytorch#161104
                torch.cuda.set_stream(lanes.of(0))
                torch.cuda.set_device(self._context.device)
        devices = {place.index: self._device(compute[place.index]) for place in self._mine}
        require_room_for(self._job, captured, [(stages[place.stage], devices[place.index]) for place in self._mine])
        wiring = Wiring(
            stages,
            self._places,
            self._context.rank,
            num_slots=self._job.num_slots,
            compute=compute,
            only_nccl=self.only_nccl,
        )
        self._wiring = wiring
        for place in self._mine:
            lanes = compute[place.index]
            self._runners.append(self._runner(place, stages[place.stage], captured, read, wiring, lanes))
        for runner in self._runners:
            if (reason := runner.slots.why_no_graph) is not None:
                self.notes.append(f"stage {runner.place.stage} runs without a CUDA graph: {reason}")

    def choose_loop(self) -> None:
        """See :class:`TriesLoop`."""
        (runner, *others) = self._runners
        why_not = "it hosts several stages" if others else runner.why_no_loop
        if (refused := refusal(self._job, why_not)) is not None:
            self.warnings.append(refused)
        if not is_tried(self._job):
            return
        trial = self._trial(runner)
        if why_not is None and pays(self._job, trial):
            num_turns = turns_of_a_loop(self._places, self._job.num_slots)
            with torch.inference_mode():
                runner.make_loop(num_turns)
            self.items_at_once = num_turns * runner.place.num_replicas
            self.notes.append(decision(num_turns, trial))

    def _trial(self, runner: StageRunner) -> LoopTrial:
        """A short run, in which every rank takes part."""
        items = range(_TRIAL_ITEMS * max(place.num_replicas for place in self._places))
        for _ in range(2):
            trace = self.run(items, keep=(), one_at_a_time=False)
        turns = max(runner.num_turns, 1)
        return LoopTrial(runner.num_turns, (self._pass_s - runner.waited_s) / turns, trace.busy_s / turns)

    def run(self, items: Sequence[int], *, keep: Container[int], one_at_a_time: bool) -> Trace:
        """Run the items that fall to this rank's places; see :class:`Executor`."""

        def taken(some: Sequence[int], trace: Trace) -> None:
            self._pass(some, lambda runner: runner.start(some, trace, keep=keep))

        def one_by_one(trace: Trace) -> None:
            for item in items:
                taken([item], trace)
                self._context.barrier()

        return self._timed(one_by_one if one_at_a_time else lambda trace: taken(items, trace))

    def run_at_rate(self, items: Sequence[int], *, rate_per_s: float, seed: int) -> Trace:
        """Run items that arrive at random (Poisson) times, ``rate_per_s`` in the mean; entry is the arrival."""
        draw = random.Random(seed)
        arrivals = itertools.accumulate(draw.expovariate(rate_per_s) for _ in items)
        after_s = dict(zip(items, arrivals, strict=True))

        def on_time(trace: Trace) -> None:
            due = {item: trace.begin + offset for item, offset in after_s.items()}
            self._pass(items, lambda runner: runner.start(items, trace, keep=(), due=due))

        return self._timed(on_time)

    def run_recorded(self, items: Sequence[int]) -> Trace:
        """See :class:`RecordingExecutor`."""
        trace = self._timed(lambda trace: self._pass(items, lambda runner: runner.start_recording(items, trace)))
        for runner in self._runners:
            trace.events += runner.recorded(trace.begin)
        return trace

    def _timed(self, work: Callable[[Trace], None]) -> Trace:
        """A run that begins and ends with every device of every rank idle."""
        trace = Trace()
        self._settle()
        self._context.barrier()
        trace.begin = time.perf_counter()
        with torch.inference_mode():
            work(trace)
        self._pass_s = time.perf_counter() - trace.begin
        self._settle()
        self._context.barrier()
        trace.end = time.perf_counter()
        trace.busy_s /= len(self._runners) if self._job.device == "cpu" else self._num_devices()
        trace.busy_s = min(trace.busy_s, trace.end - trace.begin)  # of a sample of items, or of the stage alone
        return trace

    def open_stream(self, order: OpenStream) -> None:
        """See :class:`StreamingExecutor`."""
        form, folder = ItemForm(self._captured, order.outputs), Path(order.folder)
        inputs = SharedSlots(folder / "inputs", form.inputs, order.num_slots)
        outputs = SharedSlots(folder / "outputs", form.outputs, order.num_output_slots)
        self._shared_slots = [inputs, outputs]
        if self._job.device == "cuda":
            if any(runner.stage.model_inputs for runner in self._runners):
                inputs.pin()
            if any(runner.stage.leaves is not None for runner in self._runners):
                outputs.pin()
        heads = ItemHeads(folder / "heads", form.labels, order.num_slots)
        put = Counts(folder / "put", len(self._places))
        done = Counts(folder / "done", len(self._places))
        self._streams = [
            StageStream(runner, form, ItemMemory(inputs, heads, outputs), put=put, done=done)
            for runner in self._runners
        ]

    def stream(self) -> None:
        """See :class:`StreamingExecutor`; each place has a thread, where there are several."""
        if len(self._streams) == 1:
            self._streams[0].run()
            return
        run_side_by_side([each.run for each in self._streams])

    def stage_s(self) -> dict[int, float]:
        """Each place's stage alone, while other ranks do the same on their own devices."""
        alone = self._context.shares_gpus
        shared = self._job.total_threads > num_cores()
        seconds: dict[int, float] = {}
        for rank in range(self._context.world_size if alone else 1):
            self._context.barrier()
            if not alone or rank == self._context.rank:
                with torch.inference_mode():
                    seconds = {runner.place.index: runner.stage_s(shared=shared) for runner in self._runners}
        self._context.barrier()
        return seconds

    def launch_s(self, batch: int, lanes: int) -> float:
        """See :class:`FillingExecutor`; of the rank's only place."""
        (runner,) = self._runners
        sizes = {**self._job.fed.sizes, **({"batch": batch} if "batch" in self._job.fed.sizes else {})}
        with torch.inference_mode():
            return runner.launch_s(sizes, lanes)

    def turns(self) -> dict[int, int]:
        """See :class:`TellsTurns`."""
        return {runner.place.stage: runner.num_taken for runner in self._runners}

    def close(self) -> None:
        """Release CUDA graphs before the process group goes."""
        self._settle()
        for runner in self._runners:
            runner.release()
        for slots in self._shared_slots:
            slots.close()
        if self._wiring is not None:
            self._wiring.close()

    def _runner(
        self,
        place: Place,
        stage: StageGraph,
        captured: Capture,
        read: Callable[[str], torch.Tensor],
        wiring: Wiring,
        compute: Lanes | None,
    ) -> StageRunner:
        device = self._device(compute)
        sizes = self._job.fed.sizes
        forms = StageForms(
            stage,
            captured,
            read,
            device,
            sizes_of=lambda _: sizes,
            prepare=lambda module: runnable(module, self._job.model),
        )
        varies = bool(stage.symbols)
        feed = HostFeed(
            stage.takes[: len(stage.model_inputs)],
            self._source(captured, stage),
            self._job.num_slots,
            compute,
            values_of=forms.fed if varies else None,
        )
        with torch.inference_mode():
            return StageRunner(
                place,
                forms,
                feed=feed,
                receivers=wiring.receivers(place, forms.received if varies else None),
                senders=wiring.senders(place),
                num_slots=self._job.num_slots,
                device=device,
                compute=compute,
            )

    def _source(self, captured: Capture, stage: StageGraph) -> Source:
        """Synthetic inputs of the stage, made once and repeated."""
        names = [spec.name for spec in captured.spec.inputs]
        wanted = [names.index(name) for name in stage.model_inputs]
        count = self._job.num_inputs if wanted else 0
        items = [[item_inputs(self._job.fed, i, count, self._loaded)[index] for index in wanted] for i in range(count)]
        if self._job.device == "cuda":
            items = [[tensor.pin_memory() for tensor in tensors] for tensors in items]
        return lambda item: items[item % count]

    def _device(self, compute: Lanes | None) -> torch.device:
        """Where a place computes: its lanes' device, or the CPU."""
        return torch.device("cpu") if compute is None else compute.device

    def _lanes(self, place: Place) -> Lanes | None:
        if self._job.device == "cpu":
            return None
        devices = self._job.device_by_place
        device = torch.device("cuda", devices[place.index]) if devices else self._context.device
        return lanes_on(device, self._job.lanes)

    def _pass(self, items: Sequence[int], start: Callable[[StageRunner], None]) -> None:
        """Run items through every place of this rank, each begun by ``start``, to the last value sent."""
        if self._job.device == "cpu" and len(self._runners) > 1:
            self._pass_in_threads(start)
            return
        assert self._wiring is not None
        self._wiring.in_one_thread(is_one=True)
        for runner in self._runners:
            start(runner)
        for runner in self._turns(items):
            runner.step()
        finish_in_turns(self._runners)
        self._wiring.in_one_thread(is_one=False)

    def _turns(self, items: Sequence[int]) -> Iterator[StageRunner]:
        """Whose turn it is, turn after turn, in the pipeline's order."""
        if len(self._runners) == 1:
            (runner,) = self._runners
            yield from itertools.repeat(runner, runner.num_turns)
            return
        runner_by_place = {runner.place.index: runner for runner in self._runners}
        own = {
            (count, replica): [item for item in items if item % count == replica]
            for count, replica in {(place.num_replicas, place.replica) for place in self._places}
        }
        ordered = turns_in_order(
            self._places,
            dict(enumerate(self._sources)),
            self._job.num_slots,
            lambda place: own[place.num_replicas, place.replica],
        )
        for place, _ in ordered:
            if place.index in runner_by_place:
                yield runner_by_place[place.index]

    def _pass_in_threads(self, start: Callable[[StageRunner], None]) -> None:
        def work(runner: StageRunner) -> None:
            with torch.inference_mode():
                for _ in range(runner.num_turns):
                    runner.step()
                runner.finish()

        for runner in self._runners:
            start(runner)
        run_side_by_side([partial(work, runner) for runner in self._runners])

    def _num_devices(self) -> int:
        return len({runner.device for runner in self._runners})

    def _settle(self) -> None:
        for device in {runner.device for runner in self._runners} or {self._context.device}:
            settle(device)


def finish_in_turns(runners: Sequence[StageRunner]) -> None:
    """Wait for what places of one thread have under way, an item of each in turn.

    Were one finished after the other, the last one's items would all seem to end at once, when the others' had.
    """
    waiting = list(runners)
    while waiting:
        waiting = [runner for runner in waiting if runner.finish_next()]
    for runner in runners:
        runner.finish()


class NcclPipelineExecutor(PipelineExecutor):
    """The pipeline with NCCL on every edge between ranks, also within a host."""

    only_nccl = True
