"""What a launcher set, or somebody left, in the environment is told at once, with who is awaited and how long."""

from __future__ import annotations

import socket
import threading

import pytest
import torch.distributed as dist

from partkit.data.job import RunJob
from partkit.errors import MachineError, PartkitError, RankFailedError, UsageError
from partkit.ranks import launch as launches
from partkit.ranks.launch import Launch, left_over, started_by_launcher
from partkit.ranks.launched import _meet, take_part
from tests.planned import plan_of

ALONE = "'env -u RANK -u WORLD_SIZE -u MASTER_ADDR -u MASTER_PORT partkit run ...'"


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*launches.NAMES, *launches._MARKS, "TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
    return number


def place(monkeypatch: pytest.MonkeyPatch, rank: object, world_size: object, port: object) -> None:
    values = {"RANK": rank, "WORLD_SIZE": world_size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))


def test_variables_of_no_launch_are_told_with_how_to_be_rid_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert left_over() is None
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not started_by_launcher()
    assert left_over() == (
        "WORLD_SIZE=2 is set in the environment and RANK, MASTER_ADDR, MASTER_PORT is not, so this is no rank of a "
        "launch and starts its own; 'env -u WORLD_SIZE partkit run ...' runs it without"
    )
    place(monkeypatch, 0, 2, 1)
    assert started_by_launcher()
    assert left_over() is None


@pytest.mark.parametrize(
    ("rank", "world_size", "message"),
    [
        ("one", 2, f"RANK=one in the environment is no number, so no launcher set it; {ALONE} runs the plan without"),
        (2, 2, f"RANK=2 in the environment is not below WORLD_SIZE=2; {ALONE} runs the plan without"),
    ],
)
def test_values_that_no_launcher_sets_are_refused(
    rank: object, world_size: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(monkeypatch, rank, world_size, 1)
    with pytest.raises(UsageError) as raised:
        Launch.of_environment()
    assert str(raised.value) == message


@pytest.mark.parametrize("launched", [False, True])
def test_a_launch_of_another_size_is_refused_before_anyone_is_awaited(
    launched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(monkeypatch, 0, 3, 29500)
    if launched:
        monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(UsageError) as raised:
        take_part(RunJob(executor="pipeline", plan=plan_of("py:tests.sample_models:stack", 2), devices=(0, 1)), print)
    assert str(raised.value) == (
        "the plan needs 2 ranks and the launcher started 3 (the environment makes this rank 0 of 3 at "
        "127.0.0.1:29500); start 2, or re-plan with --stages 3"
        + ("" if launched else f"; if nothing launched it, {ALONE} runs it alone")
    )


def test_rank_0_says_at_once_whom_it_awaits_and_ends_in_time(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launches, "_BARE_WAIT_S", 1)
    told: list[str] = []
    with pytest.raises(RankFailedError) as raised:
        _meet(Launch(0, 3, "127.0.0.1", port), lambda label, *_: told.append(label))
    place_told = f"the environment makes this rank 0 of 3 at 127.0.0.1:{port}"
    alone = f"if nothing launched it, {ALONE} runs it alone"
    assert told == [f"{place_told}: waiting up to 1 s for 2 more; {alone}"]
    assert raised.value.exit_code == 5
    assert str(raised.value) == (
        f"rank 1, 2 of 3 did not come to 127.0.0.1:{port} within 1 s ({place_told}); start all 3 ranks with the same "
        f"MASTER_ADDR and MASTER_PORT; {alone}"
    )


def test_another_rank_that_finds_nobody_ends_in_time(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launches, "_BARE_WAIT_S", 0)
    with pytest.raises(RankFailedError) as raised:
        _meet(Launch(1, 2, "127.0.0.1", port), lambda *_: None)
    assert raised.value.message.startswith(f"rank 0 did not come to 127.0.0.1:{port} within 0 s (")


def test_a_port_in_use_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(MachineError) as raised:
            _meet(Launch(0, 2, "127.0.0.1", number), lambda *_: None)
    assert raised.value.message.startswith(f"rank 0 cannot listen on 127.0.0.1:{number}: ")


def test_ranks_that_join_are_counted_and_share_a_store(port: int) -> None:
    told: dict[int, list[str]] = {0: [], 1: [], 2: []}
    stores: dict[int, dist.Store | PartkitError] = {}

    def meet(rank: int) -> None:
        stores[rank], _ = _meet(Launch(rank, 3, "127.0.0.1", port), lambda label, *_: told[rank].append(label))

    first = threading.Thread(target=meet, args=(0,))
    first.start()
    others = [threading.Thread(target=meet, args=(rank,)) for rank in (1, 2)]
    others[0].start()
    while not any("2 of 3" in label for label in told[0]):
        assert first.is_alive()
    others[1].start()
    for thread in (first, *others):
        thread.join(30)
    assert told[0][1] == f"2 of 3 ranks joined (on {socket.gethostname()}), no 2"
    stores[1].set("word", "said")
    assert stores[0].get("word") == b"said"
