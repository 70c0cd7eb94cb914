"""One executor's measurements during a comparison, and its row."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

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
    """The contender's row: figures only where it took part in every round."""
    if not contender.is_running or not contender.rates:
        status = "failed" if contender.is_running else contender.status
        return Row(executor=contender.name, status=status, reason=contender.reason)
    assert contender.group is not None
    assert contender.check is not None
    num_ranks = contender.group.job.num_ranks
    by_rank = [[runs[rank] for runs in contender.runs] for rank in range(num_ranks)]
    rate = statistics.median(contender.rates)
    each_returns = num_ranks > 1 and all(run.num_finished for runs in contender.runs for run in runs)
    devices = _by_device([use for runs in by_rank for use in zip(*(run.uses for run in runs), strict=True)])
    return Row(
        executor=contender.name,
        status=contender.status,
        reason=contender.reason,
        samples_per_s=rate,
        ci95=bootstrap_ci95(contender.rates),
        per_rank_samples_per_s=rate / num_ranks if each_returns else None,
        latency_p50_s=percentile(contender.latencies_s, 0.5) if len(contender.latencies_s) >= MIN_LATENCIES else None,
        gpu_util_max=tuple(
            max(seen) for uses in devices if (seen := _known(use.gpu_util_max for rounds in uses for use in rounds))
        ),
        gpu_util_mean=tuple(
            statistics.fmean(seen)
            for uses in devices
            if (seen := _known(use.gpu_util_mean for rounds in uses for use in rounds))
        ),
        peak_bytes=tuple(sum(max(use.peak_bytes for use in rounds) for rounds in uses) for uses in devices),
        max_abs_diff=contender.check.max_abs_diff,
        tolerance=contender.check.tolerance,
        busy=tuple(statistics.fmean(run.busy for run in runs) for runs in by_rank),
        note=contender.note,
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


def _by_device(uses: Sequence[Sequence[DeviceUse]]) -> list[list[Sequence[DeviceUse]]]:
    """What ranks used, each over the rounds, by device: several ranks may share a GPU; on the CPU each stands alone."""
    by_device: dict[str | int, list[Sequence[DeviceUse]]] = {}
    for place, rounds in enumerate(uses):
        name = rounds[0].device
        by_device.setdefault(place if name == "cpu" else name, []).append(rounds)
    return list(by_device.values())


def _known(figures: Iterable[float | None]) -> list[float]:
    """A device's figures of the rounds that were long enough for NVML to see."""
    return [figure for figure in figures if figure is not None]
