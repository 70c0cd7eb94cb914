import os
import signal
import stat
import time
from pathlib import Path

import psutil
import pytest

from partkit.data.job import LinksJob, ProfileJob, RunJob
from partkit.data.model import ModelSpec
from partkit.data.orders import CaptureModel, DescribeEnvironment, Load, MeasureLinks, ProfileModel, RunItems
from partkit.errors import RankFailedError
from partkit.ranks.group import RankGroup
from partkit.ranks.own_folder import require_new_file
from tests.listeners import listening
from tests.planned import plan_of


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def links_job(num_ranks: int) -> LinksJob:
    return LinksJob(devices=tuple(range(num_ranks)))


def test_ranks_answer_in_order_and_end_with_the_group() -> None:
    with RankGroup(links_job(2)) as group:
        replies = group.call(MeasureLinks())
        pids = group.pids()
        assert [[link.ranks for link in reply.links] for reply in replies] == [[(0, 1)], [(0, 1)]]
        assert [(reply.device_name, reply.memory_bytes) for reply in replies] == [("cpu", None)] * 2
        assert group.log_dir.exists()
    assert not any(is_running(pid) for pid in pids.values())
    assert not group.log_dir.exists(), "nothing failed, so that nobody reads the logs"


@pytest.mark.timed
def test_a_killed_rank_is_named_and_the_others_are_stopped_within_seconds() -> None:
    with RankGroup(links_job(2)) as group:
        group.call(DescribeEnvironment())
        pids = group.pids()
        os.kill(pids[1], signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(RankFailedError) as raised:
            group.call(MeasureLinks())
        assert time.monotonic() - began < 10
    assert raised.value.message == "rank 1 of 2 (links on cpu) was ended by SIGKILL during 'environment'"
    assert raised.value.hint == f"the log is in {group.log_dir}; where memory ran out, 'dmesg' says so"
    assert (group.log_dir / "rank1.log").exists()
    assert not any(is_running(pid) for pid in pids.values())


def test_a_rank_that_was_stopped_from_outside_is_named() -> None:
    with RankGroup(links_job(2)) as group:
        group.call(DescribeEnvironment())
        pids = group.pids()
        os.kill(pids[0], signal.SIGSTOP)
        with pytest.raises(RankFailedError) as raised:
            group.call(DescribeEnvironment(), timeout_s=1)
    assert raised.value.message == (
        "rank 0 of 2 (links on cpu) was stopped by a signal or a debugger during 'environment' and gave no answer "
        "within 1 s"
    )
    assert not any(is_running(pid) for pid in pids.values())


def test_a_stopped_rank_is_named_though_its_peers_are_as_late() -> None:
    with RankGroup(RunJob(executor="pipeline", plan=plan_of("bert-tiny", 2), devices=(0, 1))) as group:
        group.call(Load())
        os.kill(group.pids()[1], signal.SIGSTOP)
        with pytest.raises(RankFailedError) as raised:
            group.call(RunItems(num_items=200), timeout_s=1)
    assert raised.value.exit_code == 5
    assert raised.value.message.partition(";")[0] == (
        "rank 1 of 2 (stage 1, pipeline on cpu) was stopped by a signal or a debugger during 'load' and gave no answer "
        "within 1 s"
    )


def test_a_fault_inside_a_rank_names_rank_and_error() -> None:
    with RankGroup(links_job(1)) as group, pytest.raises(RankFailedError) as raised:
        group.call(Load())
    assert raised.value.message == "rank 0 of 1 (links on cpu) failed: AssertionError: LinksWork takes no order 'load'"


def test_a_fault_of_the_request_found_by_a_rank_keeps_its_message_and_exit_code() -> None:
    plan = plan_of("bert-tiny", 1)
    other = plan.model.model_copy(update={"structure_sha256": "0" * 64})
    job = RunJob(executor="pipeline", plan=plan.model_copy(update={"model": other}))
    with RankGroup(job) as group, pytest.raises(RankFailedError) as raised:
        group.call(Load())
    assert raised.value.exit_code == 2
    assert raised.value.message.startswith("the plan was made for another structure of bert-tiny (planned 000000000000")
    assert raised.value.message.endswith("re-plan with 'partkit plan bert-tiny'")
    assert not group.log_dir.exists(), "the message says it all"


def test_nothing_listens_beyond_this_host_and_the_group_s_folder_is_its_user_s_own() -> None:
    with RankGroup(links_job(2)) as group:
        group.call(DescribeEnvironment())
        pids = [os.getpid(), *group.pids().values()]
        addresses = listening(pids)
        assert addresses, "gloo's own listeners are seen"
        assert all(address.is_loopback for address in addresses), addresses
        assert stat.S_IMODE(group.log_dir.stat().st_mode) == 0o700
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in group.log_dir.glob("orders-*"))


def test_an_order_does_not_make_a_rank_write_outside_the_run_s_own_folder(tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text("precious")
    with RankGroup(ProfileJob(model=ModelSpec(source="bert-tiny"))) as group:
        group.call(CaptureModel())
        with pytest.raises(RankFailedError) as raised:
            group.call(ProfileModel(path=str(mine), progress=str(tmp_path / "progress")))
    assert raised.value.message.endswith(f"an order names {tmp_path}, which is not a folder of this run's own")
    assert mine.read_text() == "precious"


def test_a_run_s_own_folder_is_private_and_files_in_it_are_new(tmp_path: Path) -> None:
    own, shared = tmp_path / "partkit-own", tmp_path / "partkit-shared"
    own.mkdir(mode=0o700)
    shared.mkdir(mode=0o755)
    (own / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "partkit-link").symlink_to(own)
    assert require_new_file(own / "new") == own / "new"
    for path, message in [
        (own / "link", f"an order would overwrite {own / 'link'}"),
        (shared / "new", f"an order names {shared}, which is not a folder of this run's own"),
        (tmp_path / "partkit-link" / "new", f"an order names {tmp_path}/partkit-link, which is not a folder of this"),
        (own / "no" / "new", f"an order names the folder {own}/no, which cannot be used: No such file or directory"),
    ]:
        with pytest.raises(RankFailedError) as raised:
            require_new_file(path)
        assert raised.value.message.startswith(message)


def interrupt(group: RankGroup[LinksJob]) -> None:
    """Ctrl-C while a rank is stuck in its work."""
    os.kill(group.pids()[0], signal.SIGSTOP)
    raise KeyboardInterrupt


@pytest.mark.timed
def test_an_interrupted_group_ends_its_ranks_at_once_whatever_they_do() -> None:
    group = RankGroup(links_job(2))
    group.call(DescribeEnvironment())
    pids = group.pids()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), group:
        interrupt(group)
    assert time.monotonic() - began < 5
    assert not any(is_running(pid) for pid in pids.values())
    assert not group.log_dir.exists()
