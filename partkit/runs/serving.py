"""The ranks that serve a program's items and the channel to them; after a fault, others go on where it came.

    a rank is lost . kill the group . start another (of the same plan, or of one without the lost device) . load
    items whose outputs nobody got: from the old slots into new ones, in order . the next output is the first of them

What the program was lent stays as it is: the old slots' memory lives as long as an output over it.
"""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections.abc import Callable, Mapping

import torch

from partkit.data.job import RunJob
from partkit.data.orders import Load, OpenStream, ServeStream
from partkit.data.places import places
from partkit.data.plan import Plan
from partkit.data.units import format_count
from partkit.errors import PartkitError, RankFailedError, RefusedByRankError, RestartWarning, UsageError
from partkit.ranks.group import RankGroup
from partkit.runs.item_channel import ItemChannel, shared_folder
from partkit.runs.slot_count import choose_slots, most_in_memory
from partkit.transport.item_form import ItemForm

_LOOK_S = 0.2
"""Seconds between checks that the ranks are alive, while waiting for an output."""

_LOAD_S = 600.0
"""Longest that loading may take, however soon an item's output is wanted."""

CLOSED = "the pipeline was closed before the item's output came"

Replan = Callable[[Plan, frozenset[int]], RunJob]
"""The job of a plan that does without some of a plan's devices."""


class Serving:
    """Ranks at work on items; their channel's calls, which one thread at a time may make, :meth:`put` apart."""

    def __init__(self, job: RunJob, restarts: int = 0, replan: Replan | None = None) -> None:
        """Start the ranks and order them to load. ``restarts``: lost groups that may be replaced; ``replan``: asked
        for another job where a device is lost for good, which is where its rank fails twice with no output between."""
        self.restarted: list[str] = []
        """What was lost and what was done about it, once for each restart."""
        self._job, self._replan, self._most_restarts = job, replan, restarts
        self._lost_devices: frozenset[int] = frozenset()
        self._suspects: tuple[int, ...] = ()
        """Devices of the rank that was lost last."""
        self._num_before = self._num_taken_at_loss = 0
        """Outputs taken of channels before this one, and of all when a rank was lost last."""
        self._ending, self._moving = threading.RLock(), threading.RLock()
        self.is_open = True
        self._group = RankGroup(job)
        self._loading = self._group.post(Load())

    def open(self, form: ItemForm, max_in_flight: int | None) -> None:
        """Await the ranks' loading and open the channel to them."""
        self._group.collect(self._loading, timeout_s=self._load_s)
        num_places, plan = len(places(self._job.plan, self._job.host_by_place)), self._job.plan
        fewest, period_s = self._job.num_slots * (num_places + 1), plan.prediction.period_s
        if plan.microbatch > 1:  # what waits in slots joins no microbatch: only as many as keep stages at work
            fewest, period_s = self._job.lanes * (num_places + 1) + 1, 0.0
            most = most_in_memory(form.inputs, form.outputs, shared_folder())
            asked = fewest if max_in_flight is None else max(1, max_in_flight // plan.microbatch)
            max_in_flight = min(asked, max(num_places + 1, most))
        self._form = form
        self._slots = choose_slots(fewest, period_s, form.inputs, form.outputs, shared_folder(), max_in_flight)
        self._channel = self._connected()
        self._order = self._group.post(ServeStream())

    # --- the channel, whichever it is ---

    @property
    def num_slots(self) -> int:
        """Items that may be between input and output at once."""
        return self._slots.in_flight

    @property
    def num_under_way(self) -> int:
        """Items that were put and whose output was not taken yet."""
        return self._channel.num_under_way

    @property
    def has_room(self) -> bool:
        """Whether an item can be put."""
        return self._channel.has_room

    @property
    def has_output(self) -> bool:
        """Whether the next output is there."""
        return self._channel.has_output

    def put(self, bound: Mapping[str, torch.Tensor], sizes: Mapping[str, int]) -> None:
        """See :meth:`ItemChannel.put`; while ranks are replaced, it waits."""
        with self._moving:
            self._channel.put(bound, sizes)

    def take(self) -> tuple[dict[str, torch.Tensor], bool]:
        """See :meth:`ItemChannel.take`."""
        return self._channel.take()

    def await_output(self, until: float = math.inf) -> bool:
        """Wait for the next output, at most ``until`` (``time.monotonic()``); returns whether it is there.

        Raises :class:`RankFailedError` where it will not come.
        """
        if self._channel.has_output:
            return True
        deadline = time.monotonic() + self._job.timeout_s
        while not self._channel.wait(min(_LOOK_S, max(until - time.monotonic(), 0.0))):
            if time.monotonic() >= until:
                return False
            error = self._loss(deadline)
            if error is not None:
                self._recover(error)
                deadline = time.monotonic() + self._job.timeout_s
            elif self._channel.is_alone:
                time.sleep(_LOOK_S)  # the rank is about to be seen as ended
        return True

    # --- the ranks ---

    def pids(self) -> dict[int, int]:
        """Process id by rank."""
        return self._group.pids()

    def close(self) -> None:
        """End the ranks, which have given all outputs."""
        with self._ending:
            if self.is_open:
                self._channel.end()
                self._group.collect(self._order)
                self.is_open = False
                self._channel.close()
                self._group.close()

    def kill(self, error: BaseException | None) -> bool:
        """End the ranks at once: one in the middle of an item would not read the end of its count. False where they
        had ended before; else :meth:`close_channel` is to follow when nobody waits for outputs any more."""
        with self._ending:
            was_open, self.is_open = self.is_open, False
            if was_open:
                self._group.__exit__(type(error) if error is not None else RankFailedError, error, None)
        return was_open

    def close_channel(self) -> None:
        """Close what the system holds open for the channel, if there came to be one."""
        if hasattr(self, "_channel"):
            self._channel.close()

    def _require_open(self) -> None:
        if not self.is_open:
            raise UsageError(CLOSED)

    def _connected(self) -> ItemChannel:
        plan, group = self._job.plan, self._group
        all_places = places(plan, self._job.host_by_place)
        last = plan.stage_by_node[self._form.output_node]

        def open_ranks(order: OpenStream) -> None:
            group.call(order, while_waiting=self._require_open)

        returning = [place for place in all_places if place.stage == last]
        return ItemChannel(self._form, self._slots, all_places, returning, open_ranks)

    def _loss(self, deadline: float) -> RankFailedError | None:
        """Why the next output will not come; None where it still may."""
        with self._ending:
            self._require_open()
            try:
                self._group.raise_if_failed()
            except RankFailedError as error:
                return error
            if time.monotonic() < deadline:
                return None
            item = format_count(self._num_taken)
            return self._group.overdue(f"gave no output for item {item} within {self._job.timeout_s:.0f} s")

    @property
    def _load_s(self) -> float:
        return max(_LOAD_S, self._job.timeout_s)

    @property
    def _num_taken(self) -> int:
        return self._num_before + self._channel.num_taken

    # --- restarts ---

    def _recover(self, error: RankFailedError) -> None:
        """Replace the ranks as often as may be; raises the last ``error`` where they may not be, or not any more."""
        while True:
            if isinstance(error, RefusedByRankError) or len(self.restarted) >= self._most_restarts:
                raise self._final(error)
            job = self._next_job(error)
            how = "on the same devices" if job is self._job else f"without device {_listed(self._lost_devices)}"
            told = (
                f"{error.message}; restart {len(self.restarted) + 1} of {self._most_restarts} {how}, "
                f"from item {format_count(self._num_taken)}"
            )
            self.restarted.append(told)
            warnings.warn(told, RestartWarning, stacklevel=6)
            try:
                self._restart(job, error)
            except RankFailedError as another:
                error = another
            else:
                return

    def _final(self, error: RankFailedError) -> RankFailedError:
        if self.restarted:
            times = "once" if len(self.restarted) == 1 else f"{len(self.restarted)} times"
            error.message += f" (the ranks were restarted {times} before)"
        return error

    def _next_job(self, error: RankFailedError) -> RunJob:
        """The job to go on with: without the devices of a rank that failed twice with no output between."""
        devices = () if error.rank is None else self._job.devices_of(error.rank)
        is_again = devices == self._suspects != () and self._num_taken == self._num_taken_at_loss
        self._suspects, self._num_taken_at_loss = devices, self._num_taken
        if not is_again or self._replan is None:
            return self._job
        lost = self._lost_devices | set(devices)
        try:
            job = self._replan(self._job.plan, lost)
        except PartkitError as refusal:
            error.message += f", and there is no plan without device {_listed(lost)}: {refusal.message}"
            raise error from refusal
        self._lost_devices = lost
        return job

    def _restart(self, job: RunJob, error: RankFailedError) -> None:
        with self._ending:
            self._require_open()
            self._group.__exit__(type(error), error, None)
            self._job, self._group = job, RankGroup(job)
        self._group.call(Load(), timeout_s=self._load_s, while_waiting=self._require_open)
        with self._moving:
            before, channel = self._channel, self._connected()
            for bound, sizes in before.undelivered():
                channel.put(bound, sizes)
            self._num_before += before.num_taken
            self._channel = channel
        before.close()
        self._order = self._group.post(ServeStream())


def _listed(devices: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(devices)))
