"""Each fault that ends or holds up one rank of a pipeline, told by that rank's number, stage, device and node."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from partkit.data.job import RunJob
from partkit.data.orders import Load, RunItems
from partkit.errors import OutOfMemoryError, RankFailedError
from partkit.ranks.group import RankGroup
from tests.faults.acting import VARIABLE
from tests.planned import plan_of

ACTING = "py:tests.faults.acting:make"
RANK_1 = "rank 1 of 2 (stage 1, pipeline on cpu)"
SEEN = r"(; last seen( at node act)? in turn \d)?"
"""A sign of life comes twice a second, and a rank may end before its first."""

FAULTS = {
    "raise": rf"{RANK_1} failed: ValueError: the weather is bad at node act",
    "_exit": rf"{RANK_1} ended with exit code 3 during 'run'SEEN: it wrote nothing",
    "_exit 0": rf"{RANK_1} ended with exit code 0 during 'run'SEEN: it wrote nothing",
    "SystemExit": rf"{RANK_1} failed: code that it ran ended the process, SystemExit: enough at node act",
    "interrupt": rf"{RANK_1} was ended by SIGINT during 'run'SEEN",
    "terminate": rf"{RANK_1} was ended by SIGTERM during 'run'SEEN",
    "kill": rf"{RANK_1} was ended by SIGKILL during 'run'SEEN",
    "abort": rf"{RANK_1} was ended by SIGABRT during 'run'SEEN",
    "bytearray": rf"{RANK_1} failed: .*memory.* at node act",
    "allocate": rf"{RANK_1} failed: .*memory.* at node act",
    "hang": rf"{RANK_1} got stuck during 'run' and gave no answer within 3 s; last seen at node act in turn 0",
    "stop": rf"{RANK_1} was stopped by a signal or a debugger during 'run' and gave no answer within 3 sSEEN",
}


def pattern(message: str) -> str:
    """The message as a regular expression: its brackets are meant as they stand."""
    told, *_ = re.subn(r"\((?=stage)", r"\\(", message)
    return re.sub(r"(?<=cpu)\)", r"\\)", told).replace("SEEN", SEEN)


@pytest.mark.parametrize("action", FAULTS)
def test_the_rank_at_fault_is_named_alone_with_its_stage_device_and_node(
    action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "act"
    monkeypatch.setenv(VARIABLE, str(told))
    plan = plan_of(ACTING, 2)
    with RankGroup(RunJob(executor="pipeline", plan=plan, devices=(0, 1), allow_code=True, num_inputs=2)) as group:
        group.call(Load())
        told.write_text(action)
        with pytest.raises(RankFailedError) as raised:
            group.call(RunItems(num_items=4), timeout_s=3)
    assert re.fullmatch(pattern(FAULTS[action]), raised.value.message), raised.value.message
    assert raised.value.exit_code == 5
    assert isinstance(raised.value, OutOfMemoryError) is (action in ("allocate", "bytearray"))
    assert str(group.log_dir) in str(raised.value.hint)
