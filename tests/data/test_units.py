from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partkit.data.units import format_bytes, format_rate, format_seconds, parse_bytes, significant
from partkit.errors import UsageError


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [("0", 0), ("1000", 1000), ("1 kB", 1000), ("1KiB", 1024), (".5GB", 500_000_000), (" 1.5 gib ", 3 * 2**29)],
)
def test_sizes_are_read_in_decimal_and_binary_units(text, num_bytes):
    assert parse_bytes(text) == num_bytes


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1 parsec", "1.2.3", "nan", "9" * 400 + "GB"])
def test_anything_else_is_refused_with_how_to_write_it(text):
    with pytest.raises(UsageError) as caught:
        parse_bytes(text)
    assert str(caught.value) == f"{text!r} is not a size; write it as 24GiB, 1.5GB or a number of bytes"


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(999, "999 B"), (1000, "1 kB"), (999_400, "999 kB"), (999_600, "1 MB"), (25_769_803_776, "25.8 GB")],
)
def test_a_size_never_shows_a_thousand_of_a_unit(num_bytes, text):
    assert format_bytes(num_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9996, "1 s"), (0.00086, "860 µs"), (9.1e-6, "9.1 µs"), (3e-9, "3 ns"), (1234.0, "1234 s"), (math.inf, "inf s")],
)
def test_a_duration_shows_three_digits_of_its_largest_unit(seconds, text):
    assert format_seconds(seconds) == text


def test_a_rate_has_thousands_separators_or_three_digits():
    assert [format_rate(rate) for rate in (0.01234, 999.4, 999.6, 123456.7)] == ["0.0123", "999", "1,000", "123,457"]


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 12))
def test_rounding_again_changes_nothing(value, digits):
    assert significant(significant(value, digits), digits) == significant(value, digits)


@given(st.integers(0, 10**14))
def test_a_shown_size_reads_back_within_its_three_digits(num_bytes):
    assert parse_bytes(format_bytes(num_bytes)) == pytest.approx(num_bytes, rel=0.006)
