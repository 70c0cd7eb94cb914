"""Run a plan on a user's own data: items in, outputs out, in order.

    program   bind . copy into slot . count to each place           count from the last stage . lend the slot
                       |                                                     ^
    shared memory      v  inputs, K slots             outputs, more slots    |
    ranks              stage 0 . . . . . . . . . . . . . . . . . stage S-1 --+

At most K items are between the program and its last output, so the ranks wait for a slow reader and for a slow
writer. Outputs come to the user in the memory that the last stage (on CUDA the device itself) has written to. Nobody
calls the system or is woken while the other side keeps up, and who has nothing to do sleeps.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Self

import torch

from partkit.data.job import RunJob
from partkit.data.plan import Plan
from partkit.errors import PartkitError, UsageError
from partkit.models.of_job import capture_job_model, load_job_model
from partkit.ranks.run_options import RunOptions, job_of
from partkit.runs.async_items import in_order
from partkit.runs.replan import plan_without
from partkit.runs.sample_check import require_independent_samples
from partkit.runs.serving import CLOSED, Replan, Serving
from partkit.runs.submissions import Submission, Submissions
from partkit.runs.together import Part, Together
from partkit.transport.buffers import copy_alone
from partkit.transport.item_form import ItemForm

Rebuild = Callable[[Mapping[str, torch.Tensor]], Any]


def open_pipeline(
    plan: Plan,
    *,
    device: str = "auto",
    threads: int | None = None,
    devices: tuple[int, ...] | None = None,
    outputs: tuple[str, ...] = (),
    copy: bool = False,
    max_in_flight: int | None = None,
    allow_code: bool = False,
    timeout_s: float = 600.0,
    restarts: int = 0,
    replan: bool = False,
) -> Pipeline:
    """Start a plan's ranks and leave them waiting for items; use it in a ``with`` statement.

    ``outputs`` names those that are wanted (``logits``, ``hidden.0``): only they come back, as a dict by name; default:
    all, in the model's own structure. Outputs are the user's for as long as they are kept, and lie in memory that is
    shared with the ranks, which is used again once they are dropped; while many are kept, further ones are copies.
    ``copy=True`` makes copies of all.

    ``max_in_flight`` bounds the items between input and output (default: what the stages' slots hold and what passes
    in 40 ms, where 512 MiB suffice for it). ``devices`` replaces the plan's, one for each stage (or replica); one given
    twice hosts both. ``timeout_s``: an output that takes longer is a failure. ``allow_code`` as for ``partkit run``.

    ``restarts``: so often, where a rank is lost, all are started again and go on from the first item whose output did
    not come, each output once and in order; a :class:`RestartWarning` tells of it. ``replan``: where a device's rank is
    lost twice with no output between, go on by a plan for the devices that remain (:mod:`partkit.runs.replan`).
    Raises :class:`MachineError` where the plan's devices are missing, :class:`RankFailedError` where a rank ends while
    loading.
    """
    if restarts < 0:
        raise UsageError(f"restarts is {restarts}", hint="it is 0 or more")
    if replan and not restarts:
        raise UsageError("replan needs restarts, of which there are none", hint="allow at least 2 of them")
    options = RunOptions(
        device=device, threads=threads, devices=devices, allow_code=allow_code, loop_graph="off", timeout_s=timeout_s
    )

    def job_without(lost_from: Plan, lost: frozenset[int]) -> RunJob:
        return job_of(plan_without(lost_from, lost), "pipeline", replace(options, devices=None))

    return Pipeline(
        job_of(plan, "pipeline", options),
        max_in_flight,
        outputs=outputs,
        copy=copy,
        restarts=restarts,
        replan=job_without if replan else None,
    )


class Pipeline:
    """The ranks of a plan, ready for items; made by :func:`open_pipeline`.

    Either one :meth:`map` at a time, from one thread, or any number of :meth:`submit` and :meth:`asubmit`, from all.
    """

    def __init__(
        self,
        job: RunJob,
        max_in_flight: int | None = None,
        *,
        outputs: tuple[str, ...] = (),
        copy: bool = False,
        restarts: int = 0,
        replan: Replan | None = None,
    ) -> None:
        if max_in_flight is not None and max_in_flight < 1:
            raise UsageError(f"max_in_flight is {max_in_flight}", hint="it is 1 or more")
        self._job, self._copy, self._is_mapping = job, copy, False
        self._mode = threading.Lock()
        """Held to begin with a map or to submit: not both at once."""
        self._numbers = itertools.count()
        self._serving = Serving(job, restarts, replan)
        try:
            loaded = load_job_model(job)
            captured = capture_job_model(job, loaded)  # meanwhile, for the structure of items
            self.form = ItemForm(captured, outputs)
            """What items and outputs look like."""
            self._together = Together(self.form, job.plan.microbatch)
            self._serving.open(self.form, max_in_flight)
            if self._together.most > 1:
                require_independent_samples(self._through, self._together.buckets, self.form, job, loaded)
        except BaseException as error:
            if self._serving.kill(error):
                self._serving.close_channel()
            raise
        self._submissions = Submissions(
            self._serving,
            self._together,
            job.plan.max_delay_s,
            self._await_output,
            self._submitted,
            self._abandon,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is None:
            self.close()
        elif self._serving.is_open:
            self._abandon(error)

    # --- one after the other ---

    def map(self, items: Iterable[Any]) -> Iterator[Any]:
        """The model's output for each item, in order, in the structure that the model itself returns.

        An item is a mapping of tensors by input name, a tuple or list of them in the order of the model's inputs,
        or one tensor. Items are taken no faster than outputs are asked for: at most ``max_in_flight`` ahead. Left
        early, the generator waits for what is under way and keeps nothing of it. Raises :class:`UsageError` for
        an item of another form, after the outputs of those before it, or for a structure of classes that this program
        has not imported, and :class:`RankFailedError` when a rank ends.
        """
        self._require_structure()
        return self._start(items, self.form.rebuild)

    def map_flat(self, items: Iterable[Any]) -> Iterator[list[Any]]:
        """As :meth:`map`, each output as a list of its leaves, in the order of ``torch.utils._pytree``."""
        return self._start(items, self.form.flat)

    # --- side by side ---

    def submit(self, item: Any) -> Future[Any]:
        """Take an item in and return at once, while there is room; its future has the output, as :meth:`map` gives it.

        From any thread. Items of one thread enter in its order. Where slots and waiting room are full this blocks until
        there is room. A future may be cancelled until its item has a slot; till then its tensors must stay as they are.
        An item of another form fails its own future with :class:`UsageError`; a rank that ends fails all.
        """
        submission = self._enter(item)
        try:
            submission.admitted.result()
        except BaseException:  # Ctrl-C while in line
            submission.future.cancel()
            raise
        return submission.future

    async def asubmit(self, item: Any) -> Any:
        """The output of an item, as :meth:`submit`: where that would block, this awaits. Cancelled, it takes the item
        back where it has no slot yet."""
        return await (await self._aenter(item))

    def amap(self, items: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
        """The output for each item, in order, as they come: ``async for output in pipeline.amap(items)``."""
        return in_order(items, self._aenter, 2 * self.num_slots)

    async def _aenter(self, item: Any) -> asyncio.Future[Any]:
        submission = self._enter(item)
        try:
            if not submission.admitted.done():
                await asyncio.wrap_future(submission.admitted)
        except asyncio.CancelledError:
            submission.future.cancel()
            raise
        return asyncio.wrap_future(submission.future)

    def _enter(self, item: Any) -> Submission:
        self._require_structure()
        number = next(self._numbers)
        try:
            bound = self.form.bind(item, number)
            submission = Submission(Part(bound, self.form.sizes_of(bound, number)))
        except UsageError as error:
            submission = Submission(Part({}, {}))
            submission.future.set_exception(error)
            submission.admit()
            return submission
        with self._mode:
            if self._is_mapping:
                raise UsageError("a map of this pipeline is not finished", hint="close that generator first")
            self._submissions.enter(submission)
        return submission

    # --- the rest ---

    @property
    def num_slots(self) -> int:
        """Items that may be between input and output at once."""
        return self._serving.num_slots * self._together.most

    @property
    def num_lanes(self) -> int:
        """Items, or microbatches, that each stage computes side by side."""
        return self._job.lanes

    def pids(self) -> dict[int, int]:
        """Process id by rank."""
        return self._serving.pids()

    @property
    def restarted(self) -> tuple[str, ...]:
        """What was lost and what was done about it, once for each restart."""
        return tuple(self._serving.restarted)

    def close(self) -> None:
        """Wait for what was submitted, then end the ranks; nothing is left running. Safe to call twice."""
        if self._serving.is_open:
            self._submissions.drain()
        try:
            self._serving.close()
        except BaseException as error:
            self._abandon(error)
            raise

    def _require_structure(self) -> None:
        lost = self.form.lost
        if lost is not None and not self.form.wanted:
            raise UsageError(
                f"{self._job.model.source} returns {lost.classes}, which this program does not know",
                hint="import it first, take the outputs one by one with map_flat, or name those wanted by outputs=",
            )

    # --- items of a map ---

    def _start(self, items: Iterable[Any], rebuild: Rebuild) -> Iterator[Any]:
        self._require_free()
        return self._map(iter(items), rebuild)

    def _require_free(self) -> None:
        """Raises :class:`UsageError` unless a map can begin."""
        if not self._serving.is_open:
            raise UsageError("the pipeline is closed", hint="open it again with open_pipeline")
        if self._is_mapping:
            raise UsageError("another map of this pipeline is not finished", hint="close that generator first")
        if count := self._submissions.num_unfinished:
            raise UsageError(
                f"{count} submitted items of this pipeline are not finished", hint="wait for their futures first"
            )

    def _map(self, items: Iterator[Any], rebuild: Rebuild) -> Iterator[Any]:
        with self._mode:
            self._require_free()
            self._is_mapping = True
        serving, has_more, fault = self._serving, True, None
        groups, under_way = self._together.groups(self._parts(items)), deque[list[Part]]()
        try:
            while has_more or serving.num_under_way:
                if serving.num_under_way and (not has_more or not serving.has_room or serving.has_output):
                    yield from self._next(under_way.popleft(), rebuild)
                    continue
                try:
                    has_more = self._put_next(groups, under_way)
                except Exception as error:  # noqa: BLE001 - of the items' own iterator or form: first what came before
                    has_more, fault = False, error
            if fault is not None:
                raise fault
        finally:
            while serving.is_open and serving.num_under_way:
                self._await_output()
                serving.take()
            self._is_mapping = False

    def _through(self, groups: Iterable[Sequence[Part]]) -> Iterator[Sequence[Mapping[str, torch.Tensor]]]:
        """Each item's outputs of each microbatch."""
        waiting, under_way = iter(groups), deque[Sequence[Part]]()
        group = next(waiting, None)
        while group is not None or under_way:
            if group is not None and self._serving.has_room:
                self._serving.put(*self._together.joined(group))
                under_way.append(group)
                group = next(waiting, None)
                continue
            self._serving.await_output()
            yield self._together.apart(self._serving.take()[0], under_way.popleft())

    def _parts(self, items: Iterator[Any]) -> Iterator[Part]:
        for number, item in enumerate(items):
            if not self._serving.is_open:
                raise UsageError(CLOSED)
            bound = self.form.bind(item, number)
            yield Part(bound, self.form.sizes_of(bound, number))

    def _put_next(self, groups: Iterator[list[Part]], under_way: deque[list[Part]]) -> bool:
        """Put the next item, or as many as share a slot; False where there is none."""
        group = next(groups, None)
        if group is None:
            return False
        self._serving.put(*self._together.joined(group))
        under_way.append([Part({}, part.sizes) for part in group])
        return True

    def _next(self, group: list[Part], rebuild: Rebuild) -> Iterator[Any]:
        """The outputs of the items that share the next slot."""
        self._await_output()
        tensors, is_short = self._serving.take()
        taken = deque(self._together.apart(tensors, group))
        del tensors
        while taken:  # held nowhere else: what the user lets go of is free
            yield rebuild(self._lent(taken.popleft(), is_short))

    def _submitted(self, tensors: Mapping[str, torch.Tensor], is_short: bool) -> Any:
        return self.form.rebuild(self._lent(tensors, is_short))

    def _lent(self, tensors: Mapping[str, torch.Tensor], is_short: bool) -> Mapping[str, torch.Tensor]:
        """What the user gets of an output: the shared memory itself, or copies where slots are short or asked for."""
        return self._copies(tensors) if is_short or self._copy else tensors

    def _copies(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if self._job.device == "cuda":  # the cores are free to help
            return {name: tensor.clone() for name, tensor in tensors.items()}
        copies = {name: torch.empty_like(tensor) for name, tensor in tensors.items()}
        for name, copy in copies.items():
            copy_alone(copy, tensors[name])
        return copies

    def _await_output(self, until: float = math.inf) -> bool:
        """Wait for the next output until that time; raises :class:`RankFailedError` where it will not come."""
        try:
            return self._serving.await_output(until)
        except BaseException as error:
            if not isinstance(error, KeyboardInterrupt):  # that is for whoever has opened the pipeline
                self._abandon(error)
            raise

    def _abandon(self, error: BaseException | None) -> None:
        was_open = self._serving.kill(error)
        self._submissions.fail(error if isinstance(error, PartkitError) else UsageError(CLOSED))
        if was_open:
            self._serving.close_channel()
