from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
settings.register_profile("searching", settings.get_profile("repeatable"), derandomize=False)
settings.load_profile("repeatable")
"""Every run tries the same examples: a failure is of the commit, and is there again when it is looked for. New ones:
``pytest --hypothesis-profile=searching``."""


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the user's cache keeps, a calibration of this machine above all, changes no figure of a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Reference outputs are computed as ranks compute them: several threads add numbers up in another order."""
    torch.set_num_threads(1)
