from __future__ import annotations

import pytest

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.generate import Generate
from partkit.data.profile import Calibration, Node, Profile
from partkit.errors import MismatchError
from partkit.planners import PlanRequest, make_plan
from partkit.planners.generation import mixed, predicted, wide_share

CLUSTER = Cluster(devices=(Device(name="a"), Device(name="b")), link=Link(bytes_per_s=1e9, latency_s=0.5))


def profile(*times: float, scale: float = 1.0, size: int = 0) -> Profile:
    nodes = tuple(Node(name=name, time_s=time, output_bytes=size) for name, time in zip("abc", times, strict=True))
    return Profile(nodes=nodes, edges=(("a", "b"), ("b", "c")), calibration=Calibration(scale=scale))


def test_one_lane_goes_all_the_way_and_several_keep_the_slowest_stage_busy() -> None:
    narrow = profile(1.0, 1.0, 2.0)
    plan = make_plan(narrow, CLUSTER, PlanRequest(num_stages=2))
    one = predicted(plan, Generate(max_length=9, sequences=4), narrow, None)
    assert one.token_s == pytest.approx(1 + 1 + 2 + 2 * 0.5, rel=1e-6)  # there and back
    assert one.tokens_per_s == pytest.approx(4 / one.token_s)
    four = predicted(plan, Generate(max_length=9, sequences=4, lanes=4), narrow, None)
    assert four.token_s == pytest.approx(4 * 2.0)
    assert four.first_token_s == 0.0


def test_a_mix_is_the_mean_of_both_steps() -> None:
    generate = Generate(max_length=64, sequences=1, chunk=4, mix=(8, 7))  # 2 steps of a chunk, then 6 of a token
    assert wide_share(generate) == pytest.approx(2 / 8)
    narrow, wide = profile(1.0, 1.0, 1.0, size=8), profile(3.0, 1.0, 1.0, scale=2.0, size=40)
    merged = mixed(narrow, wide, generate)
    assert [node.time_s for node in merged.nodes] == [0.75 + 0.25 * 6, 0.75 + 0.25 * 2, 0.75 + 0.25 * 2]
    assert [node.output_bytes for node in merged.nodes] == [16, 16, 16]
    plan = make_plan(merged, CLUSTER, PlanRequest(num_stages=1))
    found = predicted(plan, generate, narrow, wide)
    assert found.first_token_s == pytest.approx(2 * 10)
    assert found.tokens_per_s == pytest.approx(7 / (2 * 10 + 6 * 3))


def test_a_chunk_never_leaves_a_full_lane_of_long_prompts() -> None:
    assert wide_share(Generate(max_length=64, sequences=8, chunk=2, mix=(32, 4))) == 1.0


def test_profiles_of_other_graphs_are_not_mixed() -> None:
    other = Profile(nodes=(Node(name="z", time_s=1.0),), edges=())
    with pytest.raises(MismatchError, match="--refresh"):
        mixed(profile(1.0, 1.0, 1.0), other, Generate(max_length=64, sequences=1, mix=(8, 7)))
