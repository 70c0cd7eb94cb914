from __future__ import annotations

import math

import pytest

from partkit.runs.statistics import bootstrap_ci95


def rank_of_quantile(count: int, share: float) -> int:
    """The order statistic that is the quantile of the medians of all resamples, by counting them (odd ``count``).

    A resample's median is at most the k-th smallest sample where more than half of its draws are, each with
    probability k / count.
    """

    def below(rank: int) -> float:
        p = rank / count
        return sum(math.comb(count, n) * p**n * (1 - p) ** (count - n) for n in range(count // 2 + 1, count + 1))

    return next(rank for rank in range(1, count + 1) if below(rank) >= share)


@pytest.mark.parametrize("count", [9, 25, 41])
def test_the_interval_of_the_median_is_that_of_all_resamples(count: int) -> None:
    samples = [float(number**2) for number in range(count, 0, -1)]
    low, high = rank_of_quantile(count, 0.025), rank_of_quantile(count, 0.975)
    assert 1 < low < count / 2 < high < count
    assert bootstrap_ci95(samples) == (low**2, high**2)


def test_one_disturbed_round_of_nine_is_outside_the_interval() -> None:
    assert bootstrap_ci95([10.0, 10.1, 9.9, 10.2, 9.8, 10.0, 10.1, 9.9, 3.0])[0] > 9.5


def test_the_interval_is_the_same_each_time_and_another_for_another_seed() -> None:
    samples = [float(number % 97) for number in range(0, 2000, 7)]
    assert bootstrap_ci95(samples) == bootstrap_ci95(samples)
    assert len({bootstrap_ci95(samples, seed=seed) for seed in range(8)}) > 1
