from __future__ import annotations

from partkit.runs.measure import Measured
from partkit.runs.run_warnings import drift
from tests.planned import plan_of


def test_a_profile_of_a_faster_or_slower_hour_is_called_in_doubt() -> None:
    plan = plan_of("py:tests.sample_models:skips", 2)  # 10 ms a stage, 100 samples/s

    def told(steady_per_s: float, *stage_s: float) -> list[str]:
        return drift(plan, Measured(dict(enumerate(stage_s)), [], 1, steady_per_s, steady_per_s, []))

    assert told(80.0, 0.002, 0.0114) == told(120.0, 0.0086, 0.001) == told(80.0) == []
    assert told(98.0, 0.0126, 0.002) == [], "the stage's own measurement was disturbed"
    assert told(80.0, 0.0116, 0.002) == [
        "stage 0 takes 11.6 ms, and 10 ms were planned: the profile is of a faster or slower hour; plan again with "
        "--measure, or profile with --refresh"
    ]
    assert told(120.0, 0.002, 0.0084)[0].startswith("stage 1 takes 8.4 ms, and 10 ms were planned")
