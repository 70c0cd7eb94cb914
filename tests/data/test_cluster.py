from __future__ import annotations

import pytest

from partkit.data.cluster import Cluster, Device, Link, PairLink
from partkit.errors import FormatError

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


def test_a_link_to_a_device_that_is_not_there_is_refused():
    data = _cluster(Device(name="a")).to_data()
    data["links"] = [{"source": 0, "target": 1, "bytes_per_s": 1.0}]
    with pytest.raises(FormatError) as caught:
        Cluster.from_data(data, where="c.json")
    assert str(caught.value) == (
        "c.json is not a valid cluster: link 0 -> 1 names a device past the last, 0; correct the file there"
    )
