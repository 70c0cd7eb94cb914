from pathlib import Path

import pytest

from partkit.data.cache import find_profile
from partkit.data.cluster import Cluster, Device, Link
from partkit.data.profile import INPUT_OP, OUTPUT_OP
from partkit.models.sources import parse_model
from partkit.runs import machine_cluster as machine_cluster_module
from partkit.runs.machine_cluster import machine_cluster
from partkit.runs.profile_model import profile_model


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_profile_times_every_operation_and_is_kept() -> None:
    spec = parse_model("bert-tiny")
    profile = profile_model(spec, device="cpu")
    by_op = {node.op: node for node in profile.nodes}
    assert by_op[INPUT_OP].name == "input_ids"
    assert by_op[OUTPUT_OP].time_s == 0
    assert all(node.time_s > 0 for node in profile.nodes if node.op.startswith("aten.") and not node.free)
    assert 0.5 < profile.calibration.scale < 2
    assert profile.method == "measured"
    assert profile.device.num_threads == 1
    assert find_profile(profile.sha256) == profile


def test_this_machines_cluster_shares_its_cores_among_cpu_devices() -> None:
    cluster = machine_cluster(3, device="cpu")
    assert [device.name for device in cluster.devices] == ["cpu0", "cpu1", "cpu2"]
    assert not cluster.overlap
    assert cluster.link.bytes_per_s > 1e7
    assert 0 <= cluster.link.latency_s < 0.1
    assert machine_cluster(2, device="cpu").link.latency_s == pytest.approx(cluster.link.latency_s, rel=1e-5)


def test_a_gpus_memory_is_what_is_free_of_it_less_the_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_cluster_module, "num_cuda_devices", lambda: 2)
    monkeypatch.setattr(machine_cluster_module, "free_gpu_bytes", [9_000_000_000, None].__getitem__)
    measured = Cluster(
        devices=tuple(Device(name=f"gpu{i}", type="cuda", memory_bytes=80_000_000_000) for i in range(3)),
        link=Link(bytes_per_s=1e9),
    )
    cluster = machine_cluster_module._with_free_memory(measured, 0.1)
    assert [device.memory_bytes for device in cluster.devices] == [8_100_000_000, 72_000_000_000, 72_000_000_000]
    assert cluster.provenance["memory_margin"] == 0.1
    assert cluster.provenance["free_bytes"] == [9_000_000_000, None, None]
