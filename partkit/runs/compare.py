"""Run several executors side by side, in turns, outputs checked, and say which to use.

Groups are loaded side by side, as many at a time as the cores bear, all that fit before the first round, and
take turns in random order within each round, so that whatever the machine does meanwhile falls on all of them alike:

    round 1   pipeline  single    fsdp      dispatch
    round 2   fsdp      pipeline  dispatch  single
"""

from __future__ import annotations

import contextlib
import math
import os
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from partkit.data.job import RunJob
from partkit.data.orders import Load
from partkit.data.plan import Plan
from partkit.data.progress import WITH, Progress, silent
from partkit.data.result import Check, Comparison, Row
from partkit.errors import OutOfMemoryError, PartkitError, RankFailedError, RefusedByRankError, UnsupportedError
from partkit.executors import require_executor
from partkit.machine.devices import num_cores
from partkit.ranks.filling import filled_for
from partkit.ranks.group import RankGroup
from partkit.ranks.own_folder import own_folder
from partkit.ranks.run_options import RunOptions, job_of
from partkit.runs.check import check_outputs, items_at_once, make_reference
from partkit.runs.comparison_defaults import DEFAULT_EXECUTORS, ROUNDS, SECONDS_PER_ROUND, TIMEOUT_S
from partkit.runs.comparison_result import comparison_of
from partkit.runs.contender import Contender, row_of
from partkit.runs.statistics import is_settled

_CORES_A_LOAD = 2
"""Cores that one executor is assumed to keep busy while it loads."""
_WARM_ITEMS = 4
_MAX_WARM_RUNS = 12
_WARM_SHARE = 0.25
"""Length of a warm-up run as a share of a round's."""
_MIN_ITEMS = 16
"""Fewest items of a round: enough that filling the pipeline is a small part of it."""
_ITEM_STEP = 8
"""Items of a round are a multiple of this, so that nobody's groups of microbatches are left half full."""
_LATENCY_ITEMS = 3


@dataclass(frozen=True)
class CompareOptions:
    """What to compare and for how long."""

    executors: tuple[str, ...] = DEFAULT_EXECUTORS
    """Registered names; with ``allow_code`` also ``module:class`` of the user's own."""
    rounds: int = ROUNDS
    seconds_per_round: float = SECONDS_PER_ROUND
    device: str = "auto"
    threads: int | None = None
    streams: int = 1
    """CUDA streams that deepspeed and fsdp1 deal their items to."""
    memory_bytes: int | None = None
    """Most weights and values that executors of the whole model, and the reference, may have on a device at once."""
    allow_code: bool = False
    quick: bool = False
    """Label the result as one of few and short rounds."""
    timeout_s: float = TIMEOUT_S
    """Longest that one executor may take to load or for a run before it is ended and counts as failed."""
    seed: int = 0
    """Of the order of turns."""


Standing = Callable[[Row, int, int], None]
"""Called after an executor's turn with what it reached so far, the round (0: it takes no part) and their number."""


def compare_executors(
    plan: Plan,
    options: CompareOptions | None = None,
    progress: Progress | None = None,
    standing: Standing | None = None,
) -> Comparison:
    """Measure each executor on the plan's model and devices; ``standing`` is told the rows as they come about.

    An executor that fails, hangs or gives wrong outputs becomes a row that says so and spoils no other.
    Raises :class:`UsageError` for an unknown executor before anything is started.
    """
    with Contest(plan, options, progress, standing) as contest:
        contest.load()
        return contest.measure()


class Contest:
    """One comparison in steps; a context manager that leaves nothing running.

    Several may be open at once, to load side by side; they must not measure at once. Executors for which the devices
    have no memory beside the others are loaded and measured later, once the others have ended.
    """

    def __init__(
        self,
        plan: Plan,
        options: CompareOptions | None = None,
        progress: Progress | None = None,
        standing: Standing | None = None,
    ) -> None:
        self._plan, self._options, self._tell = plan, options or CompareOptions(), progress or silent
        self._standing = standing
        for name in self._options.executors:
            require_executor(name, allow_code=self._options.allow_code)
        self._run_options = RunOptions(
            device=self._options.device,
            threads=self._options.threads,
            allow_code=self._options.allow_code,
            timeout_s=self._options.timeout_s,
            streams=self._options.streams,
            memory_bytes=self._options.memory_bytes,
        )
        self._load_before = os.getloadavg()[0]
        self._contenders = [Contender(name) for name in self._options.executors]
        self._stack = contextlib.ExitStack()
        self._reference: Path | None = None
        self._unchecked: str | None = None
        """Why there is no reference, and what to do."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def start(self) -> None:
        """Start the ranks of as many executors as the cores bear, and let them load; the rest follow in turn."""
        self._start_some(self._contenders)

    def load(self) -> None:
        """Load every executor and check its outputs against the unsplit model's.

        Where that gives none, executors are measured all the same, and all of them are invalid.
        """
        job = job_of(filled_for(self._plan, "single"), "single", self._run_options)
        folder = self._stack.enter_context(own_folder())
        try:
            self._reference = make_reference(job, folder, self._tell, may_stream=False)
        except (OutOfMemoryError, UnsupportedError):  # streamed weights take the memory of those that load meanwhile
            for contender in self._contenders:
                contender.start_anew()
            self._reference = self._reference_in_parts(job, folder)
        except RefusedByRankError:  # a fault of the request, which no executor would get past
            raise
        except RankFailedError as error:
            self._unchecked = _unchecked(self._plan, error)
        self._load(self._contenders)

    def _reference_in_parts(self, job: RunJob, folder: Path) -> Path | None:
        try:
            return make_reference(job, folder, self._tell)
        except PartkitError as error:
            self._unchecked = _unchecked(self._plan, error)
            return None

    def measure(self) -> Comparison:
        """Warm up, then rounds in which all take turns."""
        self._sit(self._contenders)
        sittings = deque(_later_sittings(self._contenders))
        while sittings:
            sitting = sittings.popleft()
            for contender in sitting:
                contender.start_anew()
                contender.add_note("measured after the others had gone: memory did not hold all at once")
            self._load(sitting)
            self._sit(sitting)
            sittings.extend(_later_sittings(sitting))
        return comparison_of(self._plan, self._contenders, self._options, self._load_before, self._unchecked)

    def _load(self, sitting: Sequence[Contender]) -> None:
        for done, contender in enumerate(sitting):
            self._tell(f"Loading executors{WITH}{contender.name}", done, len(sitting))
            self._start_some(sitting[done:])
            _load(contender, self._reference)
            if not contender.is_running:
                self._stand(contender, 0)
        self._tell("Loading executors", len(sitting), len(sitting))

    def _sit(self, sitting: Sequence[Contender]) -> None:
        """Measure the loaded executors in interleaved rounds, then end their ranks."""
        options = self._options
        for done, contender in enumerate(sitting):
            self._tell(f"Warming executors up{WITH}{contender.name}", done, len(sitting))
            _warm_up(contender, options.seconds_per_round)
        self._tell("Warming executors up", len(sitting), len(sitting))
        turns = options.rounds * len(sitting)
        for number in range(options.rounds):
            order = random.Random(options.seed * 1000 + number).sample(list(sitting), len(sitting))
            for place, contender in enumerate(order):
                part = f"{contender.name}, round {number + 1} of {options.rounds}"
                self._tell(f"Comparing{WITH}{part}", number * len(sitting) + place, turns)
                if contender.is_running:
                    with _failures_noted(contender):
                        contender.take_turn(_LATENCY_ITEMS)
                    self._stand(contender, number + 1)
        self._tell("Comparing", turns, turns)
        groups = [contender.group for contender in sitting if contender.group is not None]
        for group in groups:
            group.ask_to_stop()
        for group in groups:
            group.close()

    def _stand(self, contender: Contender, number: int) -> None:
        if self._standing is not None:
            self._standing(row_of(contender), number, self._options.rounds)

    def _start_some(self, waiting: Sequence[Contender]) -> None:
        for contender in waiting[: max(2, num_cores() // _CORES_A_LOAD)]:
            _start(contender, self._plan, self._run_options, self._stack)


def _later_sittings(sitting: Sequence[Contender]) -> list[list[Contender]]:
    """Groups of the executors that ran out of memory, to be measured after the others.

    All of them together; one by one where none could load together; never again one that was alone already."""
    waiting = [contender for contender in sitting if contender.ran_out_of_memory]
    if not waiting or len(sitting) == 1:
        return []
    return [waiting] if len(waiting) < len(sitting) else [[contender] for contender in waiting]


# --- measuring ----------------------------------------------------------------------------------------------


def _start(contender: Contender, plan: Plan, run_options: RunOptions, stack: contextlib.ExitStack) -> None:
    """Start an executor's ranks and order them to load, once."""
    if contender.group is None and contender.status == "ok":
        with _failures_noted(contender):
            job = job_of(filled_for(plan, contender.name), contender.name, run_options)
            contender.group = stack.enter_context(RankGroup(job))
            contender.loading = contender.group.post(Load())


def _load(contender: Contender, reference: Path | None) -> None:
    """Load one executor and check its outputs."""
    if not contender.is_running:
        return
    with _failures_noted(contender):
        group = contender.group
        assert group is not None
        assert contender.loading is not None
        loaded = group.collect(contender.loading)
        for text in dict.fromkeys(text for reply in loaded for text in (*reply.warnings, *reply.notes)):
            contender.add_note(text)
        contender.num_own = group.job.num_ranks if loaded[0].is_data_parallel else 1
        contender.check = check_outputs(group, reference, at_once=items_at_once(loaded))
        for text in contender.check.warnings:
            contender.add_note(text)
        if reference is None:
            contender.status, contender.reason = "invalid", "its outputs are unchecked, as there is no reference"
        elif contender.check.passed is False:
            contender.status, contender.reason = "invalid", _difference(contender.check)


def _warm_up(contender: Contender, seconds: float) -> None:
    """Run until the rolling median of the speed settles; then size a round to ``seconds``."""
    if not contender.is_running:
        return
    with _failures_noted(contender):
        assert contender.group is not None
        batch = contender.group.job.model.batch
        rates: list[float] = []
        items = _WARM_ITEMS
        while len(rates) < _MAX_WARM_RUNS and not is_settled(rates):
            rates.append(contender.run(items))
            items = max(_WARM_ITEMS, math.ceil(rates[-1] / batch * seconds * _WARM_SHARE / contender.num_own))
        if not is_settled(rates):
            contender.add_note(f"its speed had not settled after {_MAX_WARM_RUNS} warm-up runs")
        wanted = max(_MIN_ITEMS, rates[-1] / batch * seconds)
        contender.items = math.ceil(wanted / contender.num_own / _ITEM_STEP) * _ITEM_STEP


@contextlib.contextmanager
def _failures_noted(contender: Contender) -> Iterator[None]:
    try:
        yield
    except PartkitError as error:
        contender.status = "failed" if isinstance(error, RankFailedError) else "unsupported"
        contender.reason = str(error)
        contender.ran_out_of_memory = isinstance(error, OutOfMemoryError)
        if contender.group is not None:
            contender.group.close()


def _unchecked(plan: Plan, error: PartkitError) -> str:
    return (
        f"outputs are unchecked, as the unsplit model gave none to check them against: {error.message}; "
        f"run it by itself with 'partkit compare {plan.model.source} --with single', and mend it"
    )


def _difference(check: Check) -> str:
    what = "" if check.difference is None else f" ({check.difference})"
    if check.max_abs_diff is None or check.max_abs_diff <= check.tolerance:
        return f"its outputs are not finite or not of the reference's shapes{what}"
    return f"its outputs differ by {check.max_abs_diff:.2g}, and {check.tolerance:.2g} is allowed{what}"
