"""A terminal to type commands at, and a library of fakes behind it that records what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from partkit.data.cluster import Cluster
from partkit.data.explanation import CutExplanation
from partkit.data.model import InputSpec, ModelSpec
from partkit.data.plan import Plan
from partkit.data.profile import Profile
from partkit.data.result import Comparison, RunResult
from partkit.models.sources import ModelInfo
from partkit_cli.main import main

GOLDEN = Path(__file__).parent.parent / "golden"


@dataclass(frozen=True)
class Told:
    """What a command told: exit code, stdout, stderr, and the hint at what comes next that ended it."""

    code: int
    out: str
    err: str
    next: str | None = None


@pytest.fixture
def partkit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Told]:
    """Types a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def typed(*arguments: str) -> Told:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        captured = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        err, hint, following = captured.err.rpartition("next: ")
        if hint and following.endswith("\n") and (not err or err.endswith("\n")):
            return Told(stop.value.code, captured.out, err, following.rstrip("\n"))
        return Told(stop.value.code, captured.out, captured.err)

    return typed


@dataclass
class Library:
    """What the fakes answer, and what they were asked."""

    profile: Profile
    cluster: Cluster
    plan: Plan
    run: RunResult | None
    comparison: Comparison
    kept_profile: Profile | None = None
    frontier: Sequence[Plan] = ()
    cuts: Sequence[CutExplanation] = ()
    tuned: object = None
    asked: dict[str, Any] = field(default_factory=dict)

    def note(self, name: str, answer: object) -> Callable[..., Any]:
        """A function that records its arguments and answers, or raises, ``answer``."""

        def called(*arguments: Any, **named: Any) -> Any:
            progress = named.pop("progress", None)
            named.pop("standing", None)
            if progress is not None:
                progress(f"{name} at work", 1, 2)
            self.asked[name] = (*arguments, named)
            value = getattr(self, answer) if isinstance(answer, str) else answer
            if isinstance(value, BaseException):
                raise value
            return value

        return called


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    """Stands in for what measures, plans and runs; options and documents are the library's own."""
    fakes = Library(
        profile=Profile.load(GOLDEN / "profile.v1.json"),
        cluster=Cluster.load(GOLDEN / "cluster.v1.json"),
        plan=Plan.load(GOLDEN / "plan.v1.json"),
        run=RunResult.load(GOLDEN / "run.v1.json"),
        comparison=Comparison.load(GOLDEN / "comparison.v1.json"),
    )
    spec = ModelSpec(source="bert-tiny", inputs=(InputSpec(name="input_ids", shape=(1, 128), dtype="int64"),))
    known = ModelInfo(name="bert-tiny", description="A small BERT", num_parameters=4400000, inputs=spec.inputs)
    answers: dict[str, object] = {
        "partkit.models.sources.parse_model": fakes.note("parse_model", spec),
        "partkit.models.sources.list_models": fakes.note("list_models", (known,)),
        "partkit.runs.profile_model.profile_model": fakes.note("profile_model", "profile"),
        "partkit.runs.machine_cluster.machine_cluster": fakes.note("machine_cluster", "cluster"),
        "partkit.planners.plan_as_asked": fakes.note("plan_as_asked", "plan"),
        "partkit.planners.repredict": fakes.note("repredict", "plan"),
        "partkit.planners.pareto": fakes.note("pareto", "frontier"),
        "partkit.planners.explain_cuts": fakes.note("explain_cuts", "cuts"),
        "partkit.data.cache.find_profile": fakes.note("find_profile", "kept_profile"),
        "partkit.data.cache.keep_profile": lambda profile: None,
        "partkit.runs.tune.plan_by_measuring": fakes.note("plan_by_measuring", "tuned"),
        "partkit.data.builtin_clusters.load_cluster": fakes.note("load_cluster", "cluster"),
        "partkit.data.builtin_clusters.builtin_cluster": lambda name: fakes.cluster,
        "partkit.data.builtin_clusters.builtin_cluster_names": lambda: ("box", "rack"),
        "partkit.runs.run.run_plan": fakes.note("run_plan", "run"),
        "partkit.runs.compare.compare_executors": fakes.note("compare_executors", "comparison"),
        "partkit.ranks.fork_client.prepare": lambda: None,
    }
    for path, function in answers.items():
        module, _, name = path.rpartition(".")
        monkeypatch.setattr(import_module(module), name, function)
    return fakes
