"""Simulated pipelines against what can be worked out by hand."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from partkit.data.cluster import Cluster, Device, Link
from partkit.data.model import ModelSpec
from partkit.data.plan import Constraints, Plan, Send, Stage
from partkit.errors import UsageError
from partkit.planners.simulated_result import simulated_result
from partkit.planners.simulation import simulate

GB = 10**9


def chain(times, *, sent=0, overlap=True, slots=2, latency_s=0.0, replicas=1, shared_cores=None, skips=()):
    """Stages in a row over links of 1 GB/s; ``skips`` are further (from, to); the last stage has ``replicas``."""
    last = len(times) - 1
    pairs = {(index, index + 1) for index in range(last)} | set(skips)

    def sends(index):
        return tuple(
            Send(to=to, values=("v",), bytes=sent, time_s=0) for source, to in sorted(pairs) if source == index
        )

    stages = tuple(
        Stage(
            index=index,
            devices=(index,) if index < last else tuple(range(index, index + replicas)),
            nodes=(f"n{index}",),
            compute_s=seconds,
            sends=sends(index),
        )
        for index, seconds in enumerate(times)
    )
    devices = tuple(Device(name=f"d{index}") for index in range(len(times) + replicas - 1))
    link = Link(bytes_per_s=GB, latency_s=latency_s)
    cluster = Cluster(devices=devices, link=link, overlap=overlap, shared_cores=shared_cores)
    return Plan(model=ModelSpec(source="x"), stages=stages, cluster=cluster, constraints=Constraints(num_slots=slots))


@pytest.mark.parametrize(
    ("plan", "period_s"),
    [
        (chain([1.0, 1.0]), 1.0),
        (chain([1.0, 2.0]), 2.0),
        (chain([2.0, 1.0]), 2.0),
        (chain([1.0, 1.0], sent=GB // 2), 1.0),  # beside computing
        (chain([1.0, 1.0], sent=3 * GB), 3.0),  # the link is the slowest
        (chain([1.0, 1.0], sent=GB // 2, overlap=False), 1.5),  # a stage computes or sends
        (chain([1.0, 1.0, 1.0], sent=GB // 2, overlap=False), 2.0),  # and receives
        (chain([1.0, 3.0], replicas=3), 1.0),
        (chain([1.0] * 6, skips=((0, 5),)), 3.0 / 2),  # two slots hold what the last stage takes five turns later
        (chain([1.0] * 6, skips=((0, 5),), slots=6), 1.0),
        (chain([1.0] * 4, shared_cores=2.0), 2.0),
    ],
)
def test_the_period_is_that_of_what_takes_longest(plan, period_s):
    found = simulate(plan, num_items=200)
    ends = np.sort(found.finished_s)
    assert (ends[-1] - ends[100]) / 99 == pytest.approx(period_s, rel=0.02)


def test_one_item_takes_all_stages_and_hops():
    found = simulate(chain([1.0, 2.0, 3.0], sent=GB, latency_s=0.5), num_items=1)
    assert found.latencies_s.tolist() == [6.0 + 2 * 1.5]


def test_what_a_stage_waits_for_is_told_by_cause():
    slow_last = simulate(chain([1.0, 4.0]), num_items=400)
    assert slow_last.busy == pytest.approx([0.25, 1.0], abs=0.01)
    assert slow_last.waits[:, 0] == pytest.approx([0.0, 0.75, 0.0], abs=0.01)
    slow_first = simulate(chain([4.0, 1.0]), num_items=400)
    assert slow_first.waits[:, 1] == pytest.approx([0.75, 0.0, 0.0], abs=0.01)
    sending = simulate(chain([1.0, 1.0], sent=GB // 2, overlap=False), num_items=400)
    assert sending.waits[2, 0] == pytest.approx(1 / 3, abs=0.01)


def test_arrivals_wait_in_line_as_queueing_theory_says():
    """One stage of constant time at 70% load: Pollaczek and Khinchine's mean."""
    load, seconds = 0.7, 0.01
    found = simulate(chain([seconds]), num_items=60_000, rate_per_s=load / seconds, seed=1)
    expected = seconds * (1 + load / (2 * (1 - load)))
    assert found.latencies_s.mean() == pytest.approx(expected, rel=0.05)


def test_jitter_keeps_the_mean_and_slows_a_balanced_pipeline():
    still, shaken = (simulate(chain([1.0] * 8), num_items=3000, jitter=jitter, seed=2) for jitter in (0.0, 0.3))
    assert shaken.busy.mean() * shaken.finished_s.max() == pytest.approx(3000, rel=0.02)
    assert shaken.finished_s.max() > 1.05 * still.finished_s.max()


def test_the_first_items_leave_events_without_overlap_on_a_track():
    result, events = simulated_result(chain([1.0, 2.0], sent=GB // 4), num_items=50, num_traced=10)
    assert {event.item for event in events} == set(range(10))
    for track in ("compute", "send"):
        for stage in (0, 1):
            own = sorted(
                (event.begin_s, event.end_s) for event in events if (event.track, event.stage) == (track, stage)
            )
            assert all(end <= begin + 1e-9 for (_, end), (begin, _) in itertools.pairwise(own))
    assert {event.cause for event in events if event.track == "idle"} == {"input", "slot"}
    assert result.steady_samples_per_s == pytest.approx(0.5, rel=0.01)
    assert result.latency_s.p50 == pytest.approx(3.25)


def test_another_cluster_prices_links_and_devices_anew():
    plan = chain([1.0, 1.0], sent=GB)
    slow = Cluster(devices=(Device(name="a"), Device(name="b", speed=0.5)), link=Link(bytes_per_s=GB / 4))
    ends = np.sort(simulate(plan, cluster=slow, num_items=100).finished_s)
    assert (ends[-1] - ends[50]) / 49 == pytest.approx(4.0)
    one = slow.with_devices(1)
    with pytest.raises(UsageError) as raised:
        simulate(plan, cluster=one)
    assert str(raised.value) == (
        "the plan is for 2 devices, and cluster 'unnamed' has 1; name one with more, as '--cluster unnamed:2'"
    )


@pytest.mark.timed
def test_a_thousand_devices_and_a_hundred_thousand_items_take_seconds():
    plan = chain([0.001] * 1024, sent=1000)
    begin = time.perf_counter()
    simulate(plan, num_items=10_000)
    assert time.perf_counter() - begin < 3.0 * 2, "a tenth of the items, in twice a tenth of 30 s"
