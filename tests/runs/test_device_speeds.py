"""Speeds of unequal devices come from profiles of the model itself, one for each kind."""

from __future__ import annotations

import pytest

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.model import ModelSpec
from partkit.data.profile import Calibration, Node, Profile, ProfiledDevice
from partkit.errors import MachineError
from partkit.planners import PlanRequest, make_plan
from partkit.ranks.run_options import RunOptions, job_of
from partkit.runs import device_speeds
from partkit.runs.device_speeds import differs, with_measured_speeds
from tests.planned import plan_of

LINK = Link(bytes_per_s=1e12)


def profile(seconds: float, device: ProfiledDevice) -> Profile:
    nodes = tuple(
        Node(name=f"n{i}", module=f"m.{i}", time_s=seconds / 20, param_bytes=100, output_bytes=8) for i in range(10)
    )
    edges = tuple((f"n{i}", f"n{i + 1}") for i in range(9))
    return Profile(
        model=ModelSpec(source="bert-tiny"), device=device, method="measured", nodes=nodes, edges=edges,
        calibration=Calibration(scale=2.0),
    )  # fmt: skip


def cpus(*threads: int | None) -> Cluster:
    devices = tuple(Device(name=f"cpu{i}", threads=count) for i, count in enumerate(threads))
    return Cluster(devices=devices, link=LINK, provenance={"threads": 1})


@pytest.fixture
def profiled(monkeypatch) -> list[dict[str, object]]:
    """Three threads are 2.5 times as fast as one; the second GPU has half the first one's speed now."""
    asked: list[dict[str, object]] = []

    def profile_model(spec, *, device, threads, device_index, refresh, progress):
        asked.append({"device": device, "threads": threads, "index": device_index, "refresh": refresh})
        seconds = 1.0 / {None: 1.0, 1: 1.0, 3: 2.5}[threads] * (2.0 if device_index == 1 else 1.0)
        return profile(seconds, ProfiledDevice(type=device, num_threads=threads))

    monkeypatch.setattr(device_speeds, "profile_model", profile_model)
    monkeypatch.setattr(device_speeds, "num_cuda_devices", lambda: 2)
    return asked


def test_each_kind_of_device_is_profiled_once_and_its_speed_is_that_of_the_model(profiled) -> None:
    base = profile(1.0, ProfiledDevice(type="cpu", num_threads=1))
    cluster = cpus(1, 3, 3, None)
    assert differs(cluster)
    assert not differs(cpus(1, None)), "none of its own is what the profile was measured with"
    found = with_measured_speeds(base, cluster)
    assert [device.speed for device in found.devices] == pytest.approx([1.0, 2.5, 2.5, 1.0])
    assert [each["threads"] for each in profiled] == [3]
    plan = make_plan(base, found.model_copy(update={"devices": found.devices[:2]}), PlanRequest(num_stages=2))
    counts = {stage.devices[0]: len(stage.nodes) for stage in plan.stages}
    assert counts == {0: 3, 1: 7}, "10 equal nodes at speeds 1 and 2.5"
    assert plan.prediction.period_s == pytest.approx(0.3)


def test_like_gpus_are_profiled_each_where_others_use_them(profiled) -> None:
    devices = tuple(Device(name=f"gpu{i}", type="cuda") for i in range(2))
    cluster = Cluster(devices=devices, link=LINK, provenance={"devices": ["A", "A"]})
    base = profile(1.0, ProfiledDevice(type="cuda", name="A"))
    assert not differs(cluster)
    assert [device.speed for device in with_measured_speeds(base, cluster).devices] == [1.0, 1.0]
    assert profiled == []
    assert [device.speed for device in with_measured_speeds(base, cluster, each=True).devices] == [1.0, 0.5]
    assert [(each["index"], each["refresh"]) for each in profiled] == [(0, True), (1, True)]
    three = cluster.with_devices(3)
    with pytest.raises(MachineError, match="device 2"):
        with_measured_speeds(base, three, each=True)


def test_memory_s_share_is_dealt_out_in_proportion() -> None:
    base = profile(1.0, ProfiledDevice())
    devices = (Device(name="a", memory_bytes=4000), Device(name="b", memory_bytes=16000))
    request = PlanRequest(num_stages=2, planner="by_memory")
    plan = make_plan(base, Cluster(devices=devices, link=LINK), request)
    assert [len(stage.nodes) for stage in plan.stages] == [2, 8]
    equal = make_plan(base, Cluster(devices=(Device(name="a"), Device(name="b")), link=LINK), request)
    assert [len(stage.nodes) for stage in equal.stages] == [5, 5]


def test_ranks_have_the_threads_of_their_devices() -> None:
    plan = plan_of("bert-tiny", 2)
    one, other = plan.cluster.devices[:2]
    devices = (one.model_copy(update={"threads": 1}), other.model_copy(update={"threads": 2}))
    plan = plan.model_copy(update={"cluster": plan.cluster.model_copy(update={"devices": devices})})
    job = job_of(plan, "pipeline", RunOptions(device="cpu"))
    assert (job.threads_by_rank, job.total_threads, [job.threads_of(rank) for rank in (0, 1)]) == ((1, 2), 3, [1, 2])
    assert job_of(plan, "pipeline", RunOptions(device="cpu", threads=4)).threads_by_rank == ()
    assert job_of(plan_of("bert-tiny", 2), "pipeline", RunOptions(device="cpu")).threads_by_rank == ()
    assert job_of(plan, "single", RunOptions(device="cpu")).threads_by_rank == (1,)
