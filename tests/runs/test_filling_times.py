"""What batches give on the CPU, which has one lane."""

from __future__ import annotations

from partkit.models.sources import parse_model
from partkit.ranks.run_options import RunOptions
from partkit.runs.filling_times import with_filling
from partkit.runs.profile_model import profile_model


def test_batches_up_to_the_profiles_own_are_timed_in_one_lane() -> None:
    spec = parse_model("py:tests.sample_models:apart", dynamic=("batch",))
    profile = profile_model(spec, device="cpu", analytic="cpu-core")
    filled = with_filling(profile, lanes=None, options=RunOptions(device="cpu", allow_code=True))
    assert [(each.batch, each.lanes) for each in filled.filling] == [(1, 1), (4, 1), (6, 1)]
    assert all(0 < each.launch_s < 1 for each in filled.filling)
    assert profile.sha256 != filled.sha256
