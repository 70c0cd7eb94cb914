from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from partkit.data.profile import Profile
from partkit.runs.profile_model import _kept_words

PROFILE = Profile.load(Path(__file__).parent.parent / "golden" / "profile.v1.json")


@pytest.mark.parametrize(
    ("age", "words"), [({"minutes": 12}, "12 min"), ({"hours": 5}, "5 h"), ({"days": 3}, "3 days")]
)
def test_a_kept_profile_says_how_old_it_is_and_how_busy_the_machine_was(age: dict[str, int], words: str) -> None:
    measured = (datetime.now(UTC) - timedelta(**age)).isoformat()
    profile = PROFILE.model_copy(update={"provenance": {"measured": measured, "load": 3.14, "cores": 2}})
    assert _kept_words(profile) == (
        f"Using the profile kept {words} ago, at load 3.1 of 2 cores; --refresh measures anew"
    )
    unknown = PROFILE.model_copy(update={"provenance": {}})
    assert _kept_words(unknown) == "Using a kept profile of unknown age; --refresh measures anew"
