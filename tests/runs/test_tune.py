"""Planning by measuring, on a device whose true times are known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from partkit.data.cache import find_profile
from partkit.data.cluster import Cluster, Device, Link
from partkit.data.model import ModelSpec
from partkit.data.profile import Node, Profile
from partkit.errors import UsageError
from partkit.planners import PlanRequest
from partkit.ranks.run_options import RunOptions
from partkit.runs import tune

ON_CPU = RunOptions(device="cpu")
CLUSTER = Cluster(devices=(Device(name="a"), Device(name="b")), link=Link(bytes_per_s=1e9))


def row(times, source="bert-tiny"):
    nodes = tuple(Node(name=f"n{i}", time_s=seconds, output_bytes=4) for i, seconds in enumerate(times))
    edges = tuple((f"n{i}", f"n{i + 1}") for i in range(len(times) - 1))
    return Profile(model=ModelSpec(source=source), nodes=nodes, edges=edges)


def run_with(true_s):
    """A runner that takes the true times of each stage's nodes."""

    def run_plan(plan, options, progress):
        stages = [sum(true_s[int(name[1:])] for name in stage.nodes) for stage in plan.stages]
        times = [SimpleNamespace(index=i, measured_s=seconds) for i, seconds in enumerate(stages)]
        return SimpleNamespace(stages=times, steady_samples_per_s=1 / max(stages))

    return run_plan


def tuned(monkeypatch, tmp_path, profile, true_s):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tune, "run_plan", run_with(true_s))
    return tune.plan_by_measuring(profile, CLUSTER, PlanRequest(num_stages=2), ON_CPU)


def test_a_profile_that_is_right_is_settled_after_one_round(monkeypatch, tmp_path):
    found = tuned(monkeypatch, tmp_path, row([1.0] * 4), [1.0] * 4)
    assert (found.is_stable, len(found.plan.rounds), found.plan.rounds[0].moved) == (True, 1, ())
    assert (found.plan.prediction.period_s, found.plan.bound.optimal, found.plan.edited) == (2.0, True, False)


def test_a_stage_that_takes_longer_than_predicted_gives_nodes_away(monkeypatch, tmp_path):
    found = tuned(monkeypatch, tmp_path, row([1.0] * 8), [3.0] * 4 + [1.0] * 4)
    first = found.plan.rounds[0]
    assert (first.predicted_s, first.measured_s) == ((4.0, 4.0), (12.0, 4.0))
    assert [(way.source, way.target, way.nodes) for way in first.moved] == [(0, 1, ("n3",))]
    assert (found.is_stable, [stage.compute_s for stage in found.plan.stages]) == (True, [9.0, 7.0])
    assert find_profile(found.plan.profile_sha256) == found.profile


def test_rounds_that_do_not_settle_end_with_the_plan_that_ran_fastest(monkeypatch, tmp_path):
    truths = iter(([5.0] * 4 + [1.0] * 4, [1.0] * 4 + [9.0] * 4, [1.0] * 2 + [30.0] * 6))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tune, "run_plan", lambda plan, *rest: run_with(next(truths))(plan, *rest))
    found = tune.plan_by_measuring(row([1.0] * 8), CLUSTER, PlanRequest(num_stages=2), ON_CPU)
    assert len(found.plan.rounds) == tune.MAX_ROUNDS
    rates = [measured.measured_samples_per_s for measured in found.plan.rounds]
    assert (found.is_stable, rates, [len(stage.nodes) for stage in found.plan.stages]) == (
        False,
        [1 / 20, 1 / 38, 1 / 150],
        [4, 4],
    )


def test_a_graph_without_a_model_cannot_be_measured(monkeypatch, tmp_path):
    with pytest.raises(UsageError) as caught:
        tuned(monkeypatch, tmp_path, row([1.0, 1.0], source="graph:mine"), [1.0, 1.0])
    assert str(caught.value) == (
        "graph:mine is a graph without a model, whose stages cannot be run and measured; leave out --measure, or name "
        "the model instead"
    )


def test_devices_of_another_kind_cannot_be_measured_here(monkeypatch, tmp_path):
    gpus = CLUSTER.model_copy(update={"name": "box", "devices": (Device(name="g", type="cuda"),)})
    with pytest.raises(UsageError) as caught:
        tune.plan_by_measuring(row([1.0, 1.0]), gpus, PlanRequest(), ON_CPU)
    assert str(caught.value) == (
        "cluster 'box' is of cuda devices and the stages would run on cpu devices here, whose times say nothing of it; "
        "leave out --measure or --cluster"
    )
