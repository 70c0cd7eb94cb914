"""Many items a launch: on the CPU the same turns run one by one, between ranks that do and ranks that do not."""

from __future__ import annotations

from partkit.jobs import RunOptions
from partkit.runner import run_plan
from tests.test_runner import plan_of


def test_a_run_in_loops_gives_the_same_bits_and_counts_every_item() -> None:
    result = run_plan(plan_of("bert-tiny", 2), RunOptions(device="cpu", items=50, loop_graph="on"))
    assert result is not None
    assert result.check.max_abs_diff == 0.0
    assert result.items == 50
    assert result.steady_samples_per_s > 0
    assert any(warning.startswith("16 items a launch: the host takes") for warning in result.warnings)
