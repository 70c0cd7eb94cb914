"""Graphs that the planners are compared on: random chains, random operator graphs, and profiles in a folder."""

from __future__ import annotations

import itertools
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
