from __future__ import annotations

import pytest

from partkit.data.builtin_clusters import builtin_cluster, load_cluster
from partkit.data.cluster import Cluster, Device, Link, PairLink
from partkit.errors import FormatError, UsageError

LINK = Link(bytes_per_s=1e9, latency_s=1e-5)


def _cluster(*devices, links=()):
    return Cluster(devices=devices, link=LINK, links=links)


def test_a_pair_s_own_link_holds_in_its_direction_only():
    fast = PairLink(source=0, target=1, bytes_per_s=2e9)
    cluster = _cluster(Device(name="a"), Device(name="b"), links=(fast,))
    assert cluster.link_between(0, 1) == fast
    assert cluster.link_between(1, 0) == LINK


def test_a_transfer_takes_latency_and_bytes_over_rate():
    assert LINK.transfer_s(1_000_000) == pytest.approx(1.01e-3)


def test_more_devices_are_like_the_first_and_fewer_are_the_first():
    fast = PairLink(source=0, target=1, bytes_per_s=2e9)
    cluster = _cluster(Device(name="gpu0", memory_bytes=9), Device(name="gpu1", memory_bytes=9), links=(fast,))
    more = cluster.with_devices(3)
    assert more.devices == (*cluster.devices, Device(name="gpu2", memory_bytes=9))
    assert (more.links, more.link_between(0, 2)) == ((fast,), LINK)
    assert cluster.with_devices(1) == _cluster(cluster.devices[0])


def test_a_cluster_s_text_may_say_how_many_of_its_devices(tmp_path):
    _cluster(Device(name="a"), Device(name="b")).save(tmp_path / "c.json")
    text = str(tmp_path / "c.json")
    assert [device.name for device in load_cluster(f"{text}:3").devices] == ["a", "b", "a2"]
    assert (load_cluster("2x-nvlink:5").name, len(load_cluster("8x-nvlink:5").devices)) == ("2x-nvlink:5", 5)
    _cluster(Device(name="a"), Device(name="b", speed=2.0)).save(tmp_path / "c.json")
    assert len(load_cluster(f"{text}:2").devices) == 2
    with pytest.raises(UsageError) as caught:
        load_cluster(f"{text}:3")
    assert str(caught.value) == (
        f"--cluster {text}:3 asks for 3 devices, and the 2 of {text} differ: nothing says what another one would be; "
        "add it to a cluster file"
    )


def test_a_link_to_a_device_that_is_not_there_is_refused():
    data = _cluster(Device(name="a")).to_data()
    data["links"] = [{"source": 0, "target": 1, "bytes_per_s": 1.0}]
    with pytest.raises(FormatError) as caught:
        Cluster.from_data(data, where="c.json")
    assert str(caught.value) == (
        "c.json is not a valid cluster: link 0 -> 1 names a device past the last, 0; correct the file there"
    )


def test_hosts_of_a_cluster_are_joined_by_their_slower_network():
    cluster = builtin_cluster("2x8-nvlink")
    assert len(cluster.devices) == 16
    assert cluster.link_between(0, 7).bytes_per_s == cluster.link_between(15, 8).bytes_per_s == 3.6e11
    assert cluster.link_between(7, 8).bytes_per_s == cluster.link_between(0, 15).bytes_per_s == 4.0e10
    assert len(builtin_cluster("4x8-nvlink").devices) == 32


def test_the_reference_machine_is_there_and_says_so():
    cluster = builtin_cluster("4x-pcie-gen1")
    assert (len(cluster.devices), cluster.fanout, cluster.links) == (4, "once", ())
    assert cluster.citation is not None
    assert cluster.citation.startswith("the reference machine (design/reference.md)")
