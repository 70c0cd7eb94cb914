import math

import pytest
import torch

from partkit.ranks.outputs import difference as largest_difference

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
    assert largest_difference(torch.tensor(given), torch.tensor(reference)) == difference
