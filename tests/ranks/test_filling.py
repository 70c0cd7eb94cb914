"""Lanes and microbatches that an executor does not have are refused, not run as one."""

from __future__ import annotations

import pytest

from partkit.errors import MismatchError
from partkit.ranks.run_options import RunOptions, require_request
from tests.planned import plan_of


@pytest.mark.parametrize("field", ["lanes", "microbatch"])
def test_what_an_executor_does_not_have_is_refused(field: str) -> None:
    plan = plan_of("bert-tiny", 2).model_copy(update={field: 4})
    with pytest.raises(MismatchError, match=r"4 .*, which fsdp does not have"):
        require_request(plan, "fsdp", RunOptions(device="cpu"))
