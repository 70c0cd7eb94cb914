import pytest

from partkit.ranks.run_work import steady_rate


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
    assert steady_rate(finished) == (rate if rate is None else pytest.approx(rate, rel=1e-3))
