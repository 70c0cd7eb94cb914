"""Items that arrive at random: how many may be late, and the highest rate that is served in time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from partkit.data.plan import Plan
from partkit.errors import InfeasibleError
from partkit.ranks.run_options import RunOptions
from partkit.runs.load import FEWEST, find_rate, may_be_late, serve_at
from partkit.runs.open_pipeline import Pipeline, open_pipeline
from partkit.runs.run_under_load import run_under_load
from tests.planned import plan_of

ITEMS = [{"x": torch.rand(1, 4)} for _ in range(4)]


def planned() -> Plan:
    plan = plan_of("py:tests.sample_models:apart", 1, dynamic=("batch",))
    return plan.model_copy(update={"microbatch": 6})


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    with open_pipeline(planned(), device="cpu", allow_code=True) as opened:
        yield opened


def test_how_many_may_be_late_follows_from_the_binomial_distribution() -> None:
    for count in (FEWEST, 1_000):
        most = may_be_late(count)
        below, mass = 0.0, 0.99**count
        for late in range(most + 2):
            below += mass
            assert (below <= 0.01) is (late <= most)
            mass *= (count - late) / (late + 1) / 99


def test_a_rate_that_is_served_in_time_is_found_and_one_beyond_it_is_given_up(pipeline: Pipeline) -> None:
    trials = find_rate(pipeline, ITEMS, 0.2, 0.3, lambda *_: None)
    best = trials[-1]
    assert best.holds
    assert best.rate_per_s == max(trial.rate_per_s for trial in trials if trial.holds)
    assert all(trial.rate_per_s > best.rate_per_s for trial in trials if not trial.holds)
    assert len(best.latencies_s) >= FEWEST
    beyond = serve_at(pipeline, ITEMS, 1e6, 20_000, 1e-4)
    assert not beyond.holds
    assert len(beyond.latencies_s) < 20_000


def test_a_bound_that_no_rate_holds_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(InfeasibleError, match=r"no rate holds 1 µs: at .* late, p99 "):
        find_rate(pipeline, ITEMS, 1e-6, 0.2, lambda *_: None)


def test_a_run_at_a_rate_tells_the_latency_of_items_that_share_batches() -> None:
    options = RunOptions(device="cpu", rate_per_s=400.0, items=60, allow_code=True)
    result = run_under_load(planned(), options, samples=1)
    assert (result.items, result.batch, result.microbatch) == (60, 1, 6)
    assert result.latency_s.p99 is not None
    assert 0 < result.latency_s.p50 <= result.latency_s.p99
    assert result.warnings == ("latency_s.p99 rests on 60 items: 459 tell it with 99% confidence",)
