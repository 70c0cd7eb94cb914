"""Many measurements in little time: everything loads side by side, then one after the other is measured alone.

Starting Python and capturing a model takes longer than measuring it. A result that is in the folder already is not
made again, so that a benchmark that ran out of time is finished by giving the same command once more.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from partkit.data.job import DeviceType, ProfileJob, RunJob
from partkit.data.model import ModelSpec
from partkit.data.orders import CaptureModel, Load, ProfileModel
from partkit.data.plan import Plan
from partkit.data.profile import Profile
from partkit.data.replies import Done, Loaded
from partkit.data.result import Comparison, RunResult
from partkit.errors import PartkitError
from partkit.machine.devices import num_cuda_devices
from partkit.ranks.group import RankGroup
from partkit.ranks.mailbox import Posted
from partkit.ranks.own_folder import FOLDER_PREFIX
from partkit.ranks.run_options import RunOptions, job_of
from partkit.runs.check import unsplit_job, write_reference
from partkit.runs.compare import CompareOptions, Contest
from partkit.runs.run import drive_loaded


@dataclass(frozen=True)
class Run:
    """A plan to run, under environment variables of its own."""

    name: str
    plan: Plan
    options: RunOptions
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Match:
    """Executors to compare on a plan, under environment variables of their own."""

    name: str
    plan: Plan
    options: CompareOptions
    settings: Mapping[str, str] = field(default_factory=dict)


_PROCESSES = 20
"""For each device, that are loaded at once: each takes 1 to 2.5 GB for BERT-base, and 32 filled a GPU of 80 GB."""

Task = TypeVar("Task", Run, Match)


def comma_list(text: str) -> tuple[str, ...]:
    """An option that names several things, as ``bert,gpt2``."""
    return tuple(name for name in text.split(",") if name)


class Bench:
    """A folder of results and the time that is left."""

    def __init__(self, out: Path, limit_s: float) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self._end = out, time.monotonic() + limit_s
        self._longest_s = 0.0
        """Of the waves so far: where less is left, the next could not end in time."""
        self._most = _PROCESSES * max(1, num_cuda_devices())
        self.problems: dict[str, str] = {}
        """Why a result is missing, by name."""

    def profiles(
        self,
        specs: Mapping[str, ModelSpec],
        device: DeviceType,
        meanwhile: Callable[[], object] = lambda: None,
        *,
        allow_code: bool = False,
    ) -> dict[str, Profile]:
        """Profiles of models on the first device, by name; ``meanwhile`` is called while they are captured."""
        with contextlib.ExitStack() as stack:
            waiting: list[tuple[str, RankGroup[ProfileJob], Posted[Done]]] = []
            for name, spec in specs.items():
                if not self._path(name).exists():
                    job = ProfileJob(model=spec, device=device, allow_code=allow_code)
                    group = stack.enter_context(RankGroup(job))
                    waiting.append((name, group, group.post(CaptureModel())))
            meanwhile()
            for name, group, order in waiting:
                with self.noted(name):
                    group.collect(order)
            for name, group, _ in waiting:
                with self.noted(name), tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX) as folder:
                    group.call(ProfileModel(path=f"{folder}/profile.json", progress=f"{folder}/progress"))
                    Profile.load(f"{folder}/profile.json").save(self._path(name))
        return {name: Profile.load(self._path(name)) for name in specs if self._path(name).exists()}

    def runs(self, runs: Sequence[Run]) -> dict[str, RunResult]:
        """Results of plans, each checked against the unsplit model, by name."""
        missing = [run for run in runs if not self._path(run.name).exists()]
        for wave in _waves(missing, lambda run: _num_ranks(run) + 1, self._most):
            wave = [run for run in wave if self._has_time(run.name, self._longest_s)]
            with self._timed(), contextlib.ExitStack() as stack:
                groups = {run.name: self._loading(run, stack) for run in wave}
                singles: dict[str, tuple[RankGroup[RunJob], Posted[Loaded]]] = {}
                for run in wave:
                    model = run.plan.model.model_dump_json()
                    if model not in singles:
                        single = stack.enter_context(RankGroup(unsplit_job(groups[run.name][0].job)))
                        singles[model] = single, single.post(Load())
                loaded, references = {}, dict[str, Path]()
                for run in wave:
                    with self.noted(run.name):
                        group, order = groups[run.name]
                        loaded[run.name] = group.collect(order)
                        model = run.plan.model.model_dump_json()
                        if model not in references:
                            single, order = singles[model]
                            single.collect(order)
                            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX))
                            references[model] = write_reference(single, Path(folder))
                for run in wave:
                    if run.name not in self.problems and self._has_time(run.name):
                        with self.noted(run.name):
                            group, reference = groups[run.name][0], references[run.plan.model.model_dump_json()]
                            result = drive_loaded(group, run.plan, run.options, loaded[run.name], reference)
                            result.save(self._path(run.name))
        return {run.name: RunResult.load(self._path(run.name)) for run in runs if self._path(run.name).exists()}

    def matches(self, matches: Sequence[Match]) -> dict[str, Comparison]:
        """Comparisons, by name."""
        missing = [match for match in matches if not self._path(match.name).exists()]
        for wave in _waves(missing, lambda match: len(match.options.executors) * _num_ranks(match), self._most):
            wave = [match for match in wave if self._has_time(match.name, self._longest_s)]
            with self._timed(), contextlib.ExitStack() as stack:
                contests = []
                for match in wave:
                    with _environment(match.settings):
                        contest = stack.enter_context(Contest(match.plan, match.options))
                        contest.start()
                    contests.append((match, contest))
                for match, contest in contests:
                    with self.noted(match.name), _environment(match.settings):
                        contest.load()
                for match, contest in contests:
                    if match.name not in self.problems and self._has_time(match.name):
                        with self.noted(match.name), _environment(match.settings):
                            contest.measure().save(self._path(match.name))
        return {
            match.name: Comparison.load(self._path(match.name)) for match in matches if self._path(match.name).exists()
        }

    def write(self, text: str) -> None:
        """The table, and why results are missing."""
        (self.out / "problems.json").write_text(json.dumps(self.problems, indent=2) + "\n", encoding="utf-8")
        (self.out / "table.md").write_text(text + "\n", encoding="utf-8")
        print(text)

    def _path(self, name: str) -> Path:
        return self.out / f"{name}.json"

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self._longest_s = max(self._longest_s, time.monotonic() - begin)

    def _has_time(self, name: str, needed_s: float = 0.0) -> bool:
        if time.monotonic() + needed_s < self._end:
            return True
        self.problems[name] = "not run: out of time; give the same command again"
        return False

    def _loading(self, run: Run, stack: contextlib.ExitStack) -> tuple[RankGroup[RunJob], Posted[Loaded]]:
        """The plan's ranks, and their order to load."""
        with _environment(run.settings):
            group = stack.enter_context(RankGroup(job_of(run.plan, run.plan.executor, run.options)))
        return group, group.post(Load())

    @contextlib.contextmanager
    def noted(self, name: str) -> Iterator[None]:
        """Note how long a result took, or why it is missing where a fault of the user's or a rank's ended it."""
        begin = time.monotonic()
        try:
            yield
        except PartkitError as error:
            self.problems[name] = str(error)
        print(f"{time.monotonic() - begin:6.1f} s  {name}  {self.problems.get(name, '')}", file=sys.stderr, flush=True)


def _num_ranks(task: Run | Match) -> int:
    return sum(len(stage.devices) for stage in task.plan.stages)


def _waves(tasks: Sequence[Task], weight: Callable[[Task], int], most: int) -> Iterator[list[Task]]:
    """Tasks in groups of no more than ``most`` processes; at least one task each."""
    wave: list[Task] = []
    for task in tasks:
        if wave and sum(map(weight, wave)) + weight(task) > most:
            yield wave
            wave = []
        wave.append(task)
    if wave:
        yield wave


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
