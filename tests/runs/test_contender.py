from __future__ import annotations

from typing import cast

from partkit.data.job import RunJob
from partkit.data.replies import DeviceUse, ItemsRun, Loaded
from partkit.data.result import Check
from partkit.ranks.group import RankGroup
from partkit.runs.contender import Contender, row_of, throttles
from partkit.runs.run_result import rank_uses
from tests.planned import plan_of

LOADED = [Loaded(load_s=9.0, is_data_parallel=False, items_at_once=1)] * 2


class Group:
    """Stands in for the ranks of a job."""

    def __init__(self, num_ranks: int) -> None:
        self.job = RunJob(executor="split", plan=plan_of("bert-tiny", 2), devices=tuple(range(num_ranks)))


def use(device: int, peak: int, utils: tuple[float, float] | None, *throttled_by: str) -> DeviceUse:
    mean, most = utils or (None, None)
    return DeviceUse(
        device=f"cuda:{device}", gpu_util_mean=mean, gpu_util_max=most, throttled_by=throttled_by, peak_bytes=peak
    )


def reply(finished: int, *uses: DeviceUse) -> ItemsRun:
    return ItemsRun(
        begin=0.0, end=1.0, busy=0.5, num_finished=finished, steady_per_s=None, uses=uses, host_peak_bytes=7
    )


def contender(num_ranks: int, *runs: list[ItemsRun], rates: list[float]) -> Contender:
    made = Contender("split", group=cast("RankGroup[RunJob]", Group(num_ranks)), rates=rates, runs=list(runs))
    made.check = Check(max_abs_diff=0.0, tolerance=1e-4, passed=True)
    made.latencies_s = [0.1] * 5
    return made


def test_one_process_on_two_devices_has_memory_and_use_of_each() -> None:
    first = [reply(9, use(0, 10, (50.0, 80.0)), use(1, 20, None))]
    second = [reply(9, use(0, 12, (70.0, 90.0)), use(1, 18, (30.0, 40.0), "power brake"))]
    made = contender(1, first, second, rates=[1.0, 3.0])
    row = row_of(made)
    assert (row.peak_bytes, row.gpu_util_max, row.gpu_util_mean) == ((12, 20), (90.0, 40.0), (60.0, 30.0))
    assert (row.samples_per_s, row.per_rank_samples_per_s, row.busy) == (2.0, None, (0.5,))
    assert row.latency_p50_s is None, "five items are too few for a median"
    assert throttles([made]) == {"cuda:1: power brake"}
    assert [each.device for each in rank_uses(second, LOADED[:1], 1)] == ["cuda:0", "cuda:1"]


def test_ranks_have_a_rate_of_their_own_only_where_each_returns_outputs() -> None:
    copies = [reply(9, use(0, 10, None)), reply(7, use(1, 10, None))]
    assert [each.samples_per_s for each in rank_uses(copies, LOADED, 2)] == [18.0, 14.0]
    stages = [reply(0, use(0, 10, None)), reply(9, use(1, 10, None))]
    assert [each.samples_per_s for each in rank_uses(stages, LOADED, 2)] == [None, None]
    assert [each.samples_per_s for each in rank_uses(copies[:1], LOADED[:1], 2)] == [None]


def test_ranks_that_share_a_device_are_one_device_s_memory_and_use() -> None:
    shared = [reply(0, use(0, 10, (50.0, 80.0))), reply(9, use(0, 20, (70.0, 90.0))), reply(9, use(1, 5, None))]
    row = row_of(contender(3, shared, rates=[1.0]))
    assert (row.peak_bytes, row.gpu_util_max, row.gpu_util_mean) == ((30, 5), (90.0,), (60.0,))
    on_cpu = [reply(0, DeviceUse(device="cpu", peak_bytes=10)), reply(9, DeviceUse(device="cpu", peak_bytes=20))]
    assert row_of(contender(2, on_cpu, rates=[1.0])).peak_bytes == (10, 20)


def test_a_rate_per_rank_is_told_where_every_rank_returns_outputs() -> None:
    both = [reply(4, use(0, 1, None)), reply(4, use(1, 1, None))]
    assert row_of(contender(2, both, rates=[8.0])).per_rank_samples_per_s == 4.0
    last = [reply(0, use(0, 1, None)), reply(8, use(1, 1, None))]
    assert row_of(contender(2, last, rates=[8.0])).per_rank_samples_per_s is None


def test_an_executor_that_failed_after_some_rounds_has_no_figures() -> None:
    made = contender(1, [reply(9, use(0, 10, None))], rates=[5.0])
    made.status, made.reason = "failed", "rank 0 died"
    row = row_of(made)
    assert (row.status, row.reason, row.samples_per_s, row.peak_bytes) == ("failed", "rank 0 died", None, ())
