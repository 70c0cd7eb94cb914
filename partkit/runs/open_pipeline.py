"""Run a plan on a user's own data: items in, outputs out, in order.

    program   bind . copy into slot . token to each place           token from the last stage . copy out . yield
                       |                                                     ^
    shared memory      v  inputs, K slots              outputs, K slots      |
    ranks              stage 0 . . . . . . . . . . . . . . . . . stage S-1 --+

At most K items are between the program and its last output, so the ranks wait for a slow reader and for a slow
writer; nothing is polled, and nothing is copied that need not be.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import torch

from partkit.data.job import RunJob
from partkit.data.orders import Load, OpenStream, ServeStream
from partkit.data.places import Place, places
from partkit.data.plan import Plan
from partkit.errors import RankFailedError, UsageError
from partkit.models.of_job import capture_job_model, load_job_model
from partkit.ranks.group import RankGroup
from partkit.ranks.run_options import RunOptions, job_of
from partkit.transport.item_form import ItemForm, item_sizes
from partkit.transport.ring import SharedRing
from partkit.transport.tokens import END, ITEM, TokenReader, TokenWriter

_SHARED_MEMORY = Path("/dev/shm")
_LOOK_S = 0.2
"""Seconds between checks that the ranks are alive, while waiting for an output."""


def open_pipeline(
    plan: Plan,
    *,
    device: str = "auto",
    threads: int | None = None,
    devices: tuple[int, ...] | None = None,
    max_in_flight: int | None = None,
    allow_code: bool = False,
    timeout_s: float = 600.0,
) -> Pipeline:
    """Start a plan's ranks and leave them waiting for items; use it in a ``with`` statement.

    ``max_in_flight`` bounds the items between :meth:`Pipeline.map`'s input and its output (default: what the
    stages' slots hold). ``devices`` replaces the plan's, one for each stage (or replica); one given twice hosts both.
    ``timeout_s``: an output that takes longer is a failure. ``allow_code`` as for
    ``partkit run``. Raises :class:`MachineError` where the plan's devices are missing,
    :class:`RankFailedError` where a rank ends while loading.
    """
    options = RunOptions(device=device, threads=threads, devices=devices, allow_code=allow_code, loop_graph="off")
    job = job_of(plan, "pipeline", options)
    return Pipeline(job.model_copy(update={"timeout_s": timeout_s}), max_in_flight)


class Pipeline:
    """The ranks of a plan, ready for items; made by :func:`open_pipeline`."""

    def __init__(self, job: RunJob, max_in_flight: int | None = None) -> None:
        self._job, self._places = job, places(job.plan, job.host_by_place)
        self._num_slots = max_in_flight or job.num_slots * (len(self._places) + 1)
        if self._num_slots < 1:
            raise UsageError(f"max_in_flight is {max_in_flight}", hint="it is 1 or more")
        self._num_put = self._num_got = 0
        self._is_open, self._is_mapping, self._has_token = True, False, False
        self._go: list[TokenWriter] = []
        self._done: list[TokenReader] = []
        self._group = RankGroup(job)
        try:
            loading = self._group.post(Load())
            captured = capture_job_model(job, load_job_model(job))  # meanwhile, for the structure of items
            self.form = ItemForm(captured)
            """What items and outputs look like."""
            self._group.collect(loading)
            self._open_channels()
        except BaseException as error:
            self._abandon(error)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is None:
            self.close()
        elif self._is_open:
            self._abandon(error)

    def map(self, items: Iterable[Any]) -> Iterator[Any]:
        """The model's output for each item, in order, in the structure that the model itself returns.

        An item is a mapping of tensors by input name, a tuple or list of them in the order of the model's inputs,
        or one tensor. Items are taken no faster than outputs are asked for: at most ``max_in_flight`` ahead. Left
        early, the generator waits for what is under way and keeps nothing of it. Raises :class:`UsageError` for
        an item of another form, or a structure of classes that this program has not imported, and
        :class:`RankFailedError` when a rank ends.
        """
        lost = self.form.lost
        if lost is not None:
            raise UsageError(
                f"{self._job.model.source} returns {lost.classes}, which this program does not know",
                hint="import it first, or take the outputs one by one with map_flat",
            )
        return self._start(items, self.form.rebuild)

    def map_flat(self, items: Iterable[Any]) -> Iterator[list[Any]]:
        """As :meth:`map`, each output as a list of its leaves, in the order of ``torch.utils._pytree``."""
        return self._start(items, self.form.flat)

    def _start(self, items: Iterable[Any], rebuild: Callable[[Mapping[str, torch.Tensor]], Any]) -> Iterator[Any]:
        if not self._is_open or self._is_mapping:
            raise UsageError(
                "the pipeline is closed" if not self._is_open else "another map of this pipeline is not finished",
                hint="open it again with open_pipeline" if not self._is_open else "close that generator first",
            )
        return self._map(iter(items), rebuild)

    def pids(self) -> dict[int, int]:
        """Process id by rank."""
        return self._group.pids()

    def close(self) -> None:
        """End the ranks; nothing is left running. Safe to call twice."""
        if not self._is_open:
            return
        try:
            for writer in self._go:
                writer.put(END)
            self._group.collect(self._order)
        except BaseException as error:
            self._abandon(error)
            raise
        self._is_open = False
        self._close_channels()
        self._group.close()

    # --- items ---

    def _map(self, items: Iterator[Any], rebuild: Callable[[Mapping[str, torch.Tensor]], Any]) -> Iterator[Any]:
        self._is_mapping, has_more = True, True
        numbered = enumerate(items)
        try:
            while has_more or self._num_got < self._num_put:
                num_waiting = self._num_put - self._num_got
                if num_waiting and (not has_more or num_waiting == self._num_slots or self._is_there()):
                    yield rebuild(self._get())
                    continue
                for index, item in numbered:
                    self._put(self.form.bind(item, index))
                    break
                else:
                    has_more = False
        finally:
            self._is_mapping = False
            while self._is_open and self._num_got < self._num_put:
                self._get()

    def _put(self, bound: Mapping[str, torch.Tensor]) -> None:
        number = self._num_put
        sizes = self.form.sizes_of(bound, number)
        self._sizes.tensors(number)["sizes"].copy_(
            torch.tensor([sizes[label] for label in self.form.labels], dtype=torch.int64)
        )
        for name, slot in self._inputs.tensors_as(number, self.form.inputs_of(sizes)).items():
            slot.copy_(bound[name])
        self._num_put += 1
        for place, writer in zip(self._places, self._go, strict=True):
            if number % place.num_replicas == place.replica:
                writer.put(ITEM)

    def _is_there(self) -> bool:
        """True when the next output has come; its token is kept for :meth:`_get`."""
        if not self._has_token:
            self._has_token = self._reader().take(1, timeout_s=0) == ITEM
        return self._has_token

    def _get(self) -> dict[str, Any]:
        """The next item's output values, which its slot holds until the next one is asked for."""
        deadline = time.monotonic() + self._job.timeout_s
        while not self._has_token:
            token = self._reader().take(1, timeout_s=_LOOK_S)
            self._has_token = token == ITEM
            if not self._has_token:
                self._raise_if_lost(deadline)
            if token == END:
                time.sleep(_LOOK_S)  # the rank is about to be seen as ended
        self._has_token = False
        number, self._num_got = self._num_got, self._num_got + 1
        return self._outputs.tensors_as(number, self.form.outputs_of(item_sizes(self.form, self._sizes, number)))

    def _reader(self) -> TokenReader:
        return self._done[self._num_got % len(self._done)]

    def _raise_if_lost(self, deadline: float) -> None:
        try:
            self._group.raise_if_failed()
            if time.monotonic() > deadline:
                raise RankFailedError(
                    f"item {self._num_got} gave no output within {self._job.timeout_s:.0f} s, and the ranks were "
                    "stopped",
                    hint=f"see the logs in {self._group.log_dir}",
                )
        except RankFailedError as error:
            self._abandon(error)
            raise

    # --- channels ---

    def _open_channels(self) -> None:
        """Make the rings and pipes, have the ranks open them, then take their names away: nothing can stay behind."""
        base = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
        folder = Path(tempfile.mkdtemp(prefix="partkit-", dir=base))
        try:
            for place in self._places:
                os.mkfifo(folder / f"go-{place.index}")
                os.mkfifo(folder / f"done-{place.index}")
            self._inputs = SharedRing(folder / "inputs", self.form.inputs, self._num_slots)
            self._outputs = SharedRing(folder / "outputs", self.form.outputs, self._num_slots)
            self._sizes = SharedRing(folder / "sizes", self.form.sizes, self._num_slots)
            self._go = [TokenWriter(folder / f"go-{place.index}", waits=False) for place in self._places]
            returning = self._returning_places()
            self._done = [TokenReader(folder / f"done-{place.index}", waits=False) for place in returning]
            self._group.call(OpenStream(folder=str(folder), num_slots=self._num_slots))
        finally:
            shutil.rmtree(folder)
        self._order = self._group.post(ServeStream())

    def _returning_places(self) -> list[Place]:
        """The places that return the model's output, by replica."""
        last = self._job.plan.stage_by_node[self.form.output_node]
        return [place for place in self._places if place.stage == last]

    def _close_channels(self) -> None:
        for writer in self._go:
            writer.close()
        for reader in self._done:
            reader.close()

    def _abandon(self, error: BaseException | None) -> None:
        """Kill the ranks at once: one in the middle of an item would not read the end of its pipe."""
        self._is_open = False
        self._close_channels()
        self._group.__exit__(type(error) if error is not None else RankFailedError, error, None)
