from __future__ import annotations

import pytest
import torch
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")
"""Every run tries the same examples: a failure is of the commit, and is there again when it is looked for."""


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Reference outputs are computed as ranks compute them: several threads add numbers up in another order."""
    torch.set_num_threads(1)
