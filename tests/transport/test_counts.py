"""Counts between a program and its ranks: seen at once, slept for, ended."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from partkit.transport.counts import CountReader, Counts, CountWriter


@pytest.fixture
def ends(tmp_path: Path) -> tuple[CountWriter, CountReader]:
    counts = Counts(tmp_path / "counts", 3)
    counts.make_bells()
    writer = counts.writer(1, waits=False)
    return writer, Counts(tmp_path / "counts", 3).reader(1)


def test_a_count_tells_of_any_number_at_once(ends: tuple[CountWriter, CountReader]) -> None:
    writer, reader = ends
    assert (reader.count, reader.is_last, reader.wait(0, 0.0)) == (0, False, False)
    writer.advance(7)
    assert (reader.count, reader.wait(6, None), reader.wait(7, 0.0)) == (7, True, False)


def test_a_reader_that_sleeps_is_woken_for_each_of_many_counts(ends: tuple[CountWriter, CountReader]) -> None:
    writer, reader = ends
    seen = []

    def read() -> None:
        while len(seen) < 2000 and reader.wait(len(seen), 20.0):
            seen.extend(range(len(seen), reader.count))

    thread = threading.Thread(target=read)
    thread.start()
    for count in range(1, 2001):
        writer.advance(count)
    thread.join()
    assert seen == list(range(2000))


def test_what_came_before_the_end_is_seen_and_nobody_waits_after_it(ends: tuple[CountWriter, CountReader]) -> None:
    writer, reader = ends
    writer.advance(2)
    writer.end()
    assert (reader.wait(1, None), reader.wait(2, None), reader.is_last) == (True, False, True)


def test_a_writer_that_is_gone_has_ended_its_count(ends: tuple[CountWriter, CountReader]) -> None:
    writer, reader = ends
    writer.close()
    assert (reader.wait(0, None), reader.is_last) == (False, True)
