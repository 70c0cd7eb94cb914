"""Graphs that the planners are compared on: random chains, random operator graphs, and profiles in a folder."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.profile import Node, Profile

PROFILES = Path(__file__).parent / "profiles"


def box(num_devices: int, *, overlap: bool = True) -> Cluster:
    """Uniform devices whose link moves an activation in about a tenth of an operation's time."""
    devices = tuple(Device(name=f"d{index}") for index in range(num_devices))
    return Cluster(name="box", devices=devices, link=Link(bytes_per_s=3e9, latency_s=1e-6), overlap=overlap)


def random_chain(num_nodes: int, seed: int) -> Profile:
    """Operations in a row with heavy-tailed times and sizes, a light start and a heavy end."""
    draw = random.Random(seed)
    nodes = [Node(name="input", op="input", time_s=0.0, output_bytes=4096)]
    for index in range(num_nodes - 1):
        time_s = draw.lognormvariate(0.0, 1.0) * 1e-5 * (8 if index == num_nodes - 2 else 1)
        nodes.append(_node(draw, f"op{index}", time_s))
    edges = [(a.name, b.name) for a, b in itertools.pairwise(nodes)]
    return Profile(nodes=tuple(nodes), edges=tuple(edges))


def operator_dag(num_nodes: int, width: int, seed: int) -> Profile:
    """Blocks of up to ``width`` short parallel branches that join, each with a residual around it."""
    draw = random.Random(seed)
    nodes = [Node(name="input", op="input", time_s=0.0, output_bytes=4096)]
    edges: list[tuple[str, str]] = []
    previous = "input"
    while len(nodes) < num_nodes:
        ends = []
        for _ in range(draw.randint(1, width)):
            end = previous
            for _ in range(draw.randint(1, 3)):
                view = draw.random() < 0.3
                nodes.append(_node(draw, f"op{len(nodes)}", 0.0 if view else draw.lognormvariate(0.0, 0.7) * 1e-5))
                edges.append((end, nodes[-1].name))
                end = nodes[-1].name
            ends.append(end)
        nodes.append(_node(draw, f"join{len(nodes)}", draw.random() * 1e-5))
        edges += [(end, nodes[-1].name) for end in dict.fromkeys([*ends, previous])]
        previous = nodes[-1].name
    return Profile(nodes=tuple(nodes), edges=tuple(edges))


def dense_dag(num_nodes: int, seed: int) -> Profile:
    """Operations that each read two of the 30 before them; their values are small beside their work."""
    draw = random.Random(seed)
    nodes = [Node(name="input", op="input", time_s=0.0, output_bytes=256)]
    edges: list[tuple[str, str]] = []
    for index in range(1, num_nodes):
        node = _node(draw, f"op{index}", draw.lognormvariate(0.0, 0.7) * 1e-5)
        nodes.append(node.model_copy(update={"output_bytes": node.output_bytes // 16}))
        before = range(max(0, index - 30), index)
        edges += [(nodes[source].name, node.name) for source in sorted(draw.sample(before, min(2, len(before))))]
    return Profile(nodes=tuple(nodes), edges=tuple(edges))


def read_placement_graph(path: Path) -> tuple[Profile, Cluster]:
    """A throughput input of Tarnawski et al. (github.com/msr-fiddle/dnn-partitioning), on its accelerators.

    Its times are milliseconds. A value's price on the link is given in place of its bytes, so bytes are made of it for
    a link of 1 TB/s; sending and receiving take their turn with compute, and a value is sent once. The processor,
    memory limits and colour classes are left out: a training graph is one graph of forward and backward operations.
    """
    data = json.loads(path.read_text())
    price_ms = {edge["sourceId"]: edge["cost"] for edge in data["edges"]}
    nodes = tuple(
        Node(
            name=f"n{node['id']}",
            time_s=node["fpgaLatency"] / 1e3,
            output_bytes=round(price_ms.get(node["id"], 0.0) * 1e9),
            param_bytes=round(node["size"]),
        )
        for node in data["nodes"]
    )
    edges = tuple((f"n{edge['sourceId']}", f"n{edge['destId']}") for edge in data["edges"])
    devices = tuple(Device(name=f"d{index}") for index in range(data["maxFPGAs"]))
    cluster = Cluster(devices=devices, link=Link(bytes_per_s=1e12), overlap=False, fanout="once")
    return Profile(nodes=nodes, edges=edges), cluster


def _node(draw: random.Random, name: str, time_s: float) -> Node:
    weight = int(time_s * 1e11 * draw.uniform(0.2, 2.0)) if draw.random() < 0.5 else 0
    return Node(name=name, time_s=time_s, param_bytes=weight, output_bytes=draw.choice([4096, 16384, 65536]))


def all_instances() -> Iterator[tuple[str, Profile]]:
    """Name and profile of each instance."""
    yield "chain-16", random_chain(16, 7)
    yield "dag-16", operator_dag(16, 3, 7)
    for seed in range(3):
        yield f"chain-60-{seed}", random_chain(60, seed)
        yield f"chain-200-{seed}", random_chain(200, seed)
        yield f"dag-100-w3-{seed}", operator_dag(100, 3, seed)
        yield f"dag-300-w3-{seed}", operator_dag(300, 3, seed)
        yield f"dag-300-w8-{seed}", operator_dag(300, 8, seed)
    for path in sorted(PROFILES.glob("*.json")):
        yield path.stem, Profile.load(path)
