"""Models that torch.export cannot capture still run, whole or spread over devices by module."""

from __future__ import annotations

from partkit.data.cluster import Cluster, Device, Link
from partkit.models.sources import parse_model
from partkit.ranks.run_options import RunOptions
from partkit.runs.run import run_plan
from partkit.runs.uncaptured import uncaptured_plan

TWO = Cluster(devices=(Device(name="a"), Device(name="b")), link=Link(bytes_per_s=1e9))


def test_modules_are_dealt_by_their_bytes_and_dispatch_runs_them() -> None:
    plan = uncaptured_plan(parse_model("py:tests.sample_models:branching_layers"), TWO)
    assert [(stage.devices, stage.nodes) for stage in plan.stages] == [((0,), ("first",)), ((1,), ("second",))]
    assert (plan.executor, plan.prediction.samples_per_s, plan.model.structure_sha256) == ("dispatch", 0.0, None)
    result = run_plan(plan, RunOptions(device="cpu", items=12, latency_items=4, allow_code=True))
    assert result is not None
    assert (result.check.passed, result.check.max_abs_diff) == (True, 0.0)


def test_a_model_without_weights_is_one_stage() -> None:
    plan = uncaptured_plan(parse_model("py:tests.sample_models:branches"), TWO)
    assert [(stage.devices, stage.nodes) for stage in plan.stages] == [((0,), ("(whole model)",))]
