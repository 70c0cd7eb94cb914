"""Plans for tests, made from a capture and even node times: nothing is measured."""

from __future__ import annotations

import functools
from typing import Any

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.plan import Plan, Prediction, Stage
from partkit.models.capture import Capture, capture, is_pick
from partkit.models.sources import load_model, parse_model


def freshly_captured(source: str, **options: Any) -> Capture:
    return capture(load_model(parse_model(source, **options)))


@functools.cache
def captured_model(source: str, **options: Any) -> Capture:
    """One capture for all tests that ask for the same: read it, and leave it as it is."""
    return freshly_captured(source, **options)


def even_cut(captured: Capture, count: int) -> dict[str, int]:
    """Stages of about as many nodes each; a tuple's elements stay with it."""
    names = captured.placed
    share = -(-len(names) // count)
    stages: dict[str, int] = {}
    for index, name in enumerate(names):
        stages[name] = stages[names[index - 1]] if is_pick(captured.nodes[name]) else index // share
    return stages


@functools.cache
def plan_of(source: str, num_stages: int, *, executor: str = "pipeline", replicas: int = 1, **options: Any) -> Plan:
    """Stages with the same number of nodes each; the last of them on ``replicas`` devices."""
    captured = captured_model(source, **options)
    stage_by_node = even_cut(captured, num_stages)
    num_devices = num_stages + replicas - 1
    stages = tuple(
        Stage(
            index=index,
            devices=(index,) if index < num_stages - 1 else tuple(range(index, num_devices)),
            nodes=tuple(name for name, stage in stage_by_node.items() if stage == index),
            compute_s=0.01,
        )
        for index in range(num_stages)
    )
    cluster = Cluster(
        devices=tuple(Device(name=f"cpu{i}") for i in range(num_devices)), link=Link(bytes_per_s=1e9), overlap=False
    )
    return Plan(
        model=captured.spec,
        executor=executor,
        stages=stages,
        cluster=cluster,
        prediction=Prediction(period_s=0.01, samples_per_s=100.0),
    )
