import math

import pytest
import torch

from partkit.ranks.rank import _difference, _steady_rate

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("given", "reference", "difference"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([INF, NAN, -INF], [INF, NAN, -INF], 0.0),
        ([1.0, INF], [1.5, INF], 0.5),
        ([INF], [-INF], INF),
        ([NAN], [1.0], INF),
        ([1.0], [NAN], INF),
        ([], [], 0.0),
    ],
)
def test_outputs_differ_only_where_they_are_not_the_same_number(
    given: list[float], reference: list[float], difference: float
) -> None:
    assert _difference(torch.tensor(given), torch.tensor(reference)) == difference


@pytest.mark.parametrize(
    ("finished", "rate"),
    [
        ([float(end) for end in range(11)], 1.0),
        ([0.0] * 4 + [2.0] * 4 + [4.0] * 4, 2.0),
        ([0.0, 0.1, 0.2, 0.3, 0.4, 10.1], 0.4),
        ([1.0, 1.0, 1.0], None),
        ([1.0], None),
        ([], None),
    ],
    ids=["one by one", "four at a time", "one late", "all at once", "one", "none"],
)
def test_the_steady_rate_counts_from_a_fifth_of_the_outputs_on(finished: list[float], rate: float | None) -> None:
    assert _steady_rate(finished) == (rate if rate is None else pytest.approx(rate, rel=1e-3))
