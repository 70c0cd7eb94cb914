"""One executor's measurements during a comparison, and its row."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from partkit.data.job import RunJob
from partkit.data.orders import RunItems
from partkit.data.replies import DeviceUse, ItemsRun, Loaded
from partkit.data.result import Check, Row
from partkit.ranks.group import RankGroup
from partkit.ranks.mailbox import Posted
from partkit.runs.rates import latencies, overall_rate
from partkit.runs.statistics import bootstrap_ci95, percentile

MIN_LATENCIES = 6
"""Fewest items for a median: the least and greatest of six hold it between them with 97% certainty."""


@dataclass
class Contender:
    """One executor in a comparison, with its measurements so far."""

    name: str
    group: RankGroup[RunJob] | None = None
    loading: Posted[Loaded] | None = None
    """The order to load."""
    status: Literal["ok", "unsupported", "failed", "invalid"] = "ok"
    reason: str | None = None
    ran_out_of_memory: bool = False
    note: str | None = None
    check: Check | None = None
    num_own: int = 1
    """Ranks that each run the items of a run for themselves (data parallel)."""
    items: int = 0
    """In each run of a round."""
    rates: list[float] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    runs: list[list[ItemsRun]] = field(default_factory=list)
    """Replies by rank, of each round."""

    @property
    def is_running(self) -> bool:
        """True while it takes part in rounds; wrong outputs don't stop it, since its speed is reported too."""
        return self.group is not None and self.status in ("ok", "invalid")

    def run(self, items: int) -> float:
        """One run of ``items``, not kept: samples/s."""
        assert self.group is not None
        return overall_rate(self.group.call(RunItems(num_items=items)), self.group.job)[0]

    def take_turn(self, latency_items: int) -> None:
        """One round: a run with all devices busy, then items one at a time."""
        assert self.group is not None
        runs = self.group.call(RunItems(num_items=self.items))
        self.rates.append(overall_rate(runs, self.group.job)[0])
        self.runs.append(runs)
        self.latencies_s.extend(latencies(self.group.call(RunItems(num_items=latency_items, one_at_a_time=True))))

    def start_anew(self) -> None:
        """Drop all measurements, to load and measure it again later."""
        if self.group is not None:
            self.group.kill()
            self.group.drop_logs()
        self.__dict__.update(Contender(self.name).__dict__)

    def add_note(self, text: str) -> None:
        """Add a note to be read with the figures."""
        self.note = text if self.note is None else f"{self.note}; {text}"


def row_of(contender: Contender) -> Row:
    """The contender's row: figures only where it took part in every round.

    row = who and why                           always
        + speed   of all rounds                 samples/s, its interval, latency
        + use     of ranks over the rounds      busy; memory and GPU use by device
        + check   before the rounds             largest difference
    """
    if not contender.is_running or not contender.rates:
        status = "failed" if contender.is_running else contender.status
        return Row(executor=contender.name, status=status, reason=contender.reason)
    assert contender.check is not None
    rate, times_s = statistics.median(contender.rates), contender.latencies_s
    by_rank = list(zip(*contender.runs, strict=True))
    devices = [device_figures(uses) for uses in _by_device(by_rank)]
    return Row(
        executor=contender.name,
        status=contender.status,
        reason=contender.reason,
        samples_per_s=rate,
        ci95=bootstrap_ci95(contender.rates),
        per_rank_samples_per_s=rate / len(by_rank) if _every_rank_returns(by_rank) else None,
        latency_p50_s=percentile(times_s, 0.5) if len(times_s) >= MIN_LATENCIES else None,
        gpu_util_max=tuple(each.gpu_util_max for each in devices if each.gpu_util_max is not None),
        gpu_util_mean=tuple(each.gpu_util_mean for each in devices if each.gpu_util_mean is not None),
        peak_bytes=tuple(each.peak_bytes for each in devices),
        max_abs_diff=contender.check.max_abs_diff,
        tolerance=contender.check.tolerance,
        busy=tuple(statistics.fmean(run.busy for run in runs) for runs in by_rank),
        note=contender.note,
        lanes=1 if contender.group is None else contender.group.job.lanes,
        microbatch=1 if contender.group is None else contender.group.job.plan.microbatch,
    )


def _every_rank_returns(by_rank: Sequence[Sequence[ItemsRun]]) -> bool:
    """True where each of several ranks runs whole items of its own."""
    return len(by_rank) > 1 and all(run.num_finished for runs in by_rank for run in runs)


class DeviceFigures(NamedTuple):
    """One device over all rounds; its use is None where NVML saw none of them."""

    peak_bytes: int
    gpu_util_max: float | None
    gpu_util_mean: float | None


def device_figures(uses: Sequence[Sequence[DeviceUse]]) -> DeviceFigures:
    """What ranks used of one device: memory adds up over ranks, each at its peak of all rounds."""
    seen = [use for rounds in uses for use in rounds]
    highest = [use.gpu_util_max for use in seen if use.gpu_util_max is not None]
    means = [use.gpu_util_mean for use in seen if use.gpu_util_mean is not None]
    return DeviceFigures(
        peak_bytes=sum(max(use.peak_bytes for use in rounds) for rounds in uses),
        gpu_util_max=max(highest, default=None),
        gpu_util_mean=statistics.fmean(means) if means else None,
    )


def throttles(contenders: Sequence[Contender]) -> set[str]:
    """Why clocks were throttled during the rounds, as ``cuda:0: power brake``."""
    return {
        f"{use.device}: {reason}"
        for contender in contenders
        for runs in contender.runs
        for run in runs
        for use in run.uses
        for reason in use.throttled_by
    }


def _by_device(by_rank: Sequence[Sequence[ItemsRun]]) -> list[list[Sequence[DeviceUse]]]:
    """What ranks used, each over the rounds, by device: several ranks may share a GPU; on the CPU each stands alone."""
    by_device: dict[tuple[str, int], list[Sequence[DeviceUse]]] = {}
    for rank, runs in enumerate(by_rank):
        for rounds in zip(*(run.uses for run in runs), strict=True):
            name = rounds[0].device
            by_device.setdefault((name, rank if name == "cpu" else 0), []).append(rounds)
    return list(by_device.values())
