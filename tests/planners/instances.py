"""Random small graphs, clusters and requests for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from partkit.data.cluster import Cluster, Device, Link, PairLink
from partkit.data.profile import Node, Profile

TIMES = st.sampled_from([0.0, 1.0, 2.0, 3.0, 5.0, 0.7])
BYTES = st.sampled_from([0, 1, 2, 5, 9])


@st.composite
def profiles(draw, max_nodes=6, chain=False, groups=False):
    count = draw(st.integers(1, max_nodes))
    has_input = draw(st.booleans())
    nodes = []
    for index in range(count):
        is_input = has_input and index == 0
        nodes.append(
            Node(
                name=f"n{index}",
                module=f"layer.{index // 2}",
                op="input" if is_input else "",
                time_s=0.0 if is_input else draw(TIMES),
                output_bytes=draw(BYTES),
                parameters=(draw(st.sampled_from(["p", "q"])),) if draw(st.booleans()) else (),
                group=draw(st.sampled_from([None, None, None, "g", "h"])) if groups else None,
            )
        )
    edges = [(f"n{a}", f"n{a + 1}") for a in range(count - 1)] if chain else []
    for target in range(1, count):
        for source in range(target):
            if draw(st.integers(0, 9)) < (2 if chain else 4):
                edges.append((f"n{source}", f"n{target}"))
    return Profile(nodes=tuple(nodes), edges=tuple(edges), parameters={"p": 6, "q": 3})


@st.composite
def clusters(draw, max_devices=3, unequal=False, links=False, caps=False, cores=False, fanout=None):
    count = draw(st.integers(1, max_devices))
    devices = tuple(
        Device(
            name=f"d{index}",
            speed=draw(st.sampled_from([1.0, 2.0, 0.5])) if unequal else 1.0,
            memory_bytes=draw(st.integers(5, 60)) if caps else None,
        )
        for index in range(count)
    )
    pairs = [(a, b) for a in range(count) for b in range(count) if a != b]
    chosen = [pair for pair in pairs if draw(st.booleans())] if links else []
    return Cluster(
        devices=devices,
        link=draw(_links()),
        links=tuple(PairLink(source=a, target=b, **draw(_links()).model_dump()) for a, b in chosen),
        overlap=draw(st.booleans()),
        fanout=fanout or draw(st.sampled_from(["each", "once"])),
        shared_cores=draw(st.sampled_from([None, 1.0, 1.5, 2.0])) if cores else None,
    )


def _links():
    return st.builds(Link, bytes_per_s=st.sampled_from([1.0, 4.0, 100.0]), latency_s=st.sampled_from([0.0, 0.1, 1.0]))
