"""A kept profile is used while the machine is as fast as it was, and says so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from partkit.data.cache import find_kept, keep
from partkit.data.gauges import Gauge, Gauges
from partkit.data.job import ProfileJob
from partkit.data.orders import TimeGauges
from partkit.data.profile import Node, Profile
from partkit.data.replies import GaugesTimed
from partkit.models.sources import parse_model
from partkit.ranks.group import Ranks
from partkit.runs import kept_profile
from partkit.runs.kept_profile import Verdict, check_kept
from partkit.runs.profile_model import _request, profile_model

OPERAND = {"tensor": {"shape": [2], "stride": [1], "dtype": "float32"}}
GAUGES = Gauges(
    gauges=tuple(
        Gauge(nodes=nodes, operation="aten.relu.default", args=(OPERAND,), in_model=in_model)
        for nodes, in_model in ((("a", "b"), 1.0), (("c",), 2.0), (("gone",), 1.0))
    )
)
"""Nodes a and b are one operation; c took twice as long in the model as alone; what the profile has not counts for
nothing."""


class Timed:
    """Stands for a rank that finds these seconds."""

    job = ProfileJob(model=parse_model("bert-tiny"))

    def __init__(self, *seconds: float | None) -> None:
        self._seconds = seconds

    def call(self, order: TimeGauges, **_: object) -> list[GaugesTimed]:
        assert order.gauges == GAUGES.gauges
        return [GaugesTimed(seconds=self._seconds)]


def _kept(**age: int) -> Profile:
    measured = (datetime.now(UTC) - timedelta(**age)).isoformat()
    return Profile(
        method="measured",
        nodes=tuple(Node(name=name, time_s=time_s) for name, time_s in zip("abcd", (0.25, 0.75, 2, 1), strict=True)),
        edges=(),
        provenance={"measured": measured, "load": 3.14, "cores": 2},
    )


def _check(kept: Profile, gauges: Gauges | None, seconds: Sequence[float | None] = ()) -> Verdict:
    return check_kept(kept, gauges, cast("Ranks[ProfileJob]", Timed(*seconds)), lambda *_: None)


@pytest.fixture(autouse=True)
def at_load_0_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_profile, "load_now", lambda: 0.3)


@pytest.mark.parametrize(
    ("age", "words"), [({"minutes": 12}, "12 min"), ({"hours": 5}, "5 h"), ({"days": 3}, "3 days")]
)
def test_a_profile_of_todays_speed_is_used_and_says_its_age_its_load_and_how_it_was_checked(
    age: dict[str, int], words: str
) -> None:
    assert _check(_kept(**age), GAUGES, (0.5, 1.25, 7.0)) == Verdict(
        True,
        f"Using the profile kept {words} ago, at load 3.1 of 2 cores: 2 operations (75% of its time) took 1.12 times "
        "as long now; --refresh measures anew",
    )


@pytest.mark.parametrize(
    ("seconds", "factor"), [((0.85, 1.7), "1.7"), ((0.125, 0.25), "4.0"), ((0.5, 3.0), "2.0"), ((10.0, 20.0), "20.0")]
)
def test_a_profile_of_another_speed_is_measured_again(seconds: tuple[float, float], factor: str) -> None:
    assert _check(_kept(hours=3), GAUGES, (*seconds, None)) == Verdict(
        False,
        f"The kept profile of 3 h ago, at load 3.1 of 2 cores, is {factor} times off today's speed, at load 0.3: "
        "measured again",
    )


@pytest.mark.parametrize(("slower", "holds"), [(1.49, True), (1.51, False), (1 / 1.49, True), (1 / 1.51, False)])
def test_half_as_much_again_is_tolerated_either_way(slower: float, holds: bool) -> None:
    assert _check(_kept(hours=3), GAUGES, (0.5 * slower, slower, None)).holds is holds


def test_a_profile_that_cannot_be_checked_is_used_and_one_without_gauges_is_not() -> None:
    assert _check(_kept(days=3), GAUGES, (None, None, None)) == Verdict(
        True,
        "Using the profile kept 3 days ago, at load 3.1 of 2 cores, which cannot be checked; --refresh measures anew",
    )
    assert _check(_kept(days=3), Gauges(gauges=())).holds
    unknown = _kept().model_copy(update={"provenance": {}})
    assert _check(unknown, None) == Verdict(
        False, "The profile kept at an unknown time has no operations to check it by: measured again"
    )


@pytest.mark.timed
def test_an_honest_profile_is_kept_and_one_with_all_times_four_times_as_long_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    spec = parse_model("bert-tiny", batch=8)
    told: list[str] = []

    def planned(**options: Any) -> Profile:
        told.clear()
        return profile_model(spec, device="cpu", progress=lambda label, *_: told.append(label), **options)

    honest = planned()
    assert told[0] == "Capturing bert-tiny"
    assert planned() == honest
    assert re.fullmatch(r"Using the profile kept \d min ago, at load .* times as long now; --refresh .*", told[1])
    request = _request(ProfileJob(model=spec, device="cpu", threads=1, allow_code=True))
    assert request is not None
    slow = tuple(node.model_copy(update={"time_s": 4 * node.time_s}) for node in honest.nodes)
    keep(honest.model_copy(update={"nodes": slow}), request)
    again = planned()
    assert re.fullmatch(r"The kept profile of \d min ago, .* times off today's speed, .*: measured again", told[1])
    assert told[2] == "Capturing bert-tiny"
    assert find_kept(Profile, request) == again
    assert sum(node.time_s for node in again.nodes) < 2 * sum(node.time_s for node in honest.nodes)
    assert planned(refresh=True) != again
    assert told[0] == "Capturing bert-tiny"
