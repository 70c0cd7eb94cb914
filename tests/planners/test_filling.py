"""Lanes and microbatches as one search with the cuts."""

from __future__ import annotations

import random
from typing import Any

import pytest

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.model import InputSpec, ModelSpec
from partkit.data.plan import Plan
from partkit.data.profile import FilledTime, Node, Profile, ProfiledDevice
from partkit.errors import InfeasibleError, UsageError
from partkit.planners import PlanRequest, plan_as_asked, repredict
from partkit.planners.filling import LOAD, _late_s, plan_filled, scaled

LAUNCH_S = {
    (1, 1): 4e-3,
    (1, 2): 2.5e-3,
    (1, 4): 2.48e-3,
    (4, 1): 4.2e-3,
    (4, 2): 4.1e-3,
    (8, 1): 8e-3,
    (8, 2): 7.95e-3,
}
"""Of the whole model on one device, by samples and lanes."""
CLUSTER = Cluster(
    devices=tuple(Device(name=name, type="cuda", memory_bytes=4_000_000) for name in "ab"),
    link=Link(bytes_per_s=1e12),
)


@pytest.fixture
def profile() -> Profile:
    nodes = tuple(Node(name=f"n{index}", time_s=1e-3, output_bytes=8_000, param_bytes=100) for index in range(8))
    return Profile(
        model=ModelSpec(
            source="net", inputs=(InputSpec(name="x", shape=(8, 4), dtype="float32", dynamic={"0": "batch"}),)
        ),
        device=ProfiledDevice(type="cuda", name="gpu"),
        method="measured",
        nodes=nodes,
        edges=tuple((f"n{index}", f"n{index + 1}") for index in range(7)),
        filling=tuple(FilledTime(batch=b, lanes=lanes, launch_s=s) for (b, lanes), s in LAUNCH_S.items()),
    )


def planned(profile: Profile, cluster: Cluster = CLUSTER, **given: Any) -> Plan:
    asked: dict[str, Any] = {"lanes": None, "microbatch": None, "samples": 1, "max_latency_s": None} | given
    return plan_filled(profile, cluster, PlanRequest(num_stages=2), plan_as_asked, **asked)


def test_times_and_sizes_are_those_of_the_batch_with_every_lane_full(profile: Profile) -> None:
    four = scaled(profile, 4, 2)
    assert [node.time_s for node in four.nodes] == pytest.approx([4.1e-3 / 8] * 8)
    assert (four.nodes[0].output_bytes, four.model.batch) == (4_000, 4)
    assert scaled(profile, 2, 2) is profile, "what was not measured stays as it is"


def test_the_highest_rate_is_taken_and_of_equals_the_simpler(profile: Profile) -> None:
    plan = planned(profile)
    assert (plan.lanes, plan.microbatch, plan.model.batch) == (1, 8, 8), "2 lanes of 8 give hardly more"
    assert plan.prediction.samples_per_s == pytest.approx(8 / 4e-3, rel=0.01)
    assert plan.max_delay_s == pytest.approx(7 / (LOAD * 2000), rel=0.01)
    assert plan.planner.detail.startswith("1 lane x 8 items 2,000 samples/s, p99 ")
    assert "against 2 lanes x 8 items" in plan.planner.detail


def test_a_bound_on_latency_is_weighed_against_the_rate(profile: Profile) -> None:
    loose, tight = planned(profile, max_latency_s=0.1), planned(profile, max_latency_s=0.015)
    assert (loose.lanes, loose.microbatch) == (1, 8)
    assert (tight.lanes, tight.microbatch) == (1, 4), "8 items take longer to fill"
    served = float(tight.planner.detail.split(" at ")[1].split("%")[0]) / 100
    assert 0.5 < served < 0.95
    with pytest.raises(InfeasibleError, match=r"no filling is within 1 ms, however few items arrive: .*; allow a long"):
        planned(profile, max_latency_s=1e-3)


@pytest.mark.parametrize(("fill_s", "mean_s"), [(0.0, 2e-3), (5e-3, 1e-3), (1e-3, 4e-3), (8e-3, 1e-5)])
def test_the_wait_is_that_of_random_draws(fill_s: float, mean_s: float) -> None:
    draw = random.Random(0)
    waits = sorted(draw.uniform(0, fill_s) + draw.expovariate(1 / mean_s) for _ in range(100_000))
    assert _late_s(fill_s, mean_s) == pytest.approx(waits[99_000], rel=0.02)


def test_what_was_asked_for_is_kept_and_what_was_not_measured_is_refused(profile: Profile) -> None:
    plan = planned(profile, lanes=4, microbatch=1)
    assert (plan.lanes, plan.microbatch) == (4, 1)
    assert plan.prediction.samples_per_s == pytest.approx(2 / 2.48e-3, rel=0.01)
    with pytest.raises(UsageError, match="nothing was measured of the lanes and microbatches"):
        planned(profile, lanes=3)


def test_memory_caps_hold_with_all_lanes(profile: Profile) -> None:
    peaks = {lanes: planned(profile, lanes=lanes, microbatch=4).stages[0].peak_bytes for lanes in (1, 2)}
    assert peaks[1] < peaks[2] < 2 * peaks[1], "weights are held once"
    small = Cluster(
        devices=tuple(each.model_copy(update={"memory_bytes": peaks[1] + 500}) for each in CLUSTER.devices),
        link=CLUSTER.link,
    )
    plan = planned(profile, small)
    assert max(stage.peak_bytes for stage in plan.stages) <= peaks[1] + 500
    assert plan.microbatch * plan.lanes <= 4


def test_a_filled_plan_predicted_again_is_the_same(profile: Profile) -> None:
    plan = planned(profile, lanes=2, microbatch=4)
    again = repredict(plan, profile)
    assert again.prediction.period_s == pytest.approx(plan.prediction.period_s)
    assert [stage.compute_s for stage in again.stages] == pytest.approx([stage.compute_s for stage in plan.stages])
