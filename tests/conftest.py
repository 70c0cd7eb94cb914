from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Reference outputs are computed as ranks compute them: several threads add numbers up in another order."""
    torch.set_num_threads(1)
