"""Two hosts in network namespaces: one result, outputs checked; who is lost, or cut off, is named in bounded time."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from partkit.ranks.life import LOST_S
from tests.faults.acting import VARIABLE
from tests.faults.hosts import PORT, Host, hosts, why_not
from tests.planned import plan_of

ACTING = "py:tests.faults.acting:make"
pytestmark = [
    pytest.mark.skipif(why_not() is not None, reason=why_not() or ""),
    pytest.mark.timed,
    pytest.mark.timeout(200),
]
AT_MOST_S = LOST_S + 15
"""From a fault to the end of all ranks: until it counts as one, and what ending takes on a busy machine."""
Process = subprocess.Popen[str]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plan_of(ACTING, 2).save(tmp_path_factory.mktemp("plan") / "plan.json")


def started(plan: Path, made: list[Host], names: Path, *more: str, **variables: str) -> list[Process]:
    """One rank on each host, as torchruns would start them; a host's own name is its loopback, as Debian has it."""
    processes = []
    for host in made:
        known = [f"{'127.0.1.1' if each is host else each.address} {each.name}" for each in made]
        own_names = names / f"hosts{host.number}"
        own_names.write_text("\n".join(["127.0.0.1 localhost", *known, ""]))
        place = {
            "RANK": str(host.number),
            "LOCAL_RANK": "0",
            "WORLD_SIZE": str(len(made)),
            "LOCAL_WORLD_SIZE": "1",
            "MASTER_ADDR": made[0].name,
            "MASTER_PORT": str(PORT),
            "PARTKIT_SECRET": "known to both",
        }
        arguments = ["-m", "partkit_cli", "run", str(plan), "--device", "cpu", "--json", "--allow-code", *more]
        processes.append(host.start(arguments, place | variables, str(own_names)))
    return processes


def ended(processes: list[Process], within_s: float) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each."""
    deadline, told = time.monotonic() + within_s, []
    for process in processes:
        out, error = process.communicate(timeout=max(1.0, deadline - time.monotonic()))
        told.append((process.returncode, out, error))
    return told


def await_step(process: Process, step: str) -> None:
    """Read what a rank says until it comes to a step."""
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if step in line:
            return
    raise AssertionError(f"{step!r} never came:\n{seen}")


def error_of(out: str) -> str:
    told: str = json.loads(out)["message"]
    return told


def test_hosts_whose_own_names_are_their_loopback_run_a_plan_and_check_it(plan: Path, tmp_path: Path) -> None:
    with hosts(2) as made:
        (code, out, error), (other_code, other_out, other_error) = ended(
            started(plan, made, tmp_path, "--items", "8"), 150
        )
    assert (code, other_code, other_out) == (0, 0, ""), error + other_error
    result = json.loads(out)
    assert (result["check"]["passed"], result["check"]["max_abs_diff"], len(result["ranks"])) == (True, 0.0, 2)


def test_a_link_that_is_cut_for_good_ends_both_hosts_and_each_names_the_other(plan: Path, tmp_path: Path) -> None:
    with hosts(2) as made:
        processes = started(plan, made, tmp_path, "--seconds", "120", "--no-check")
        await_step(processes[0], "Measuring")
        time.sleep(2)
        made[1].cut()
        begin = time.monotonic()
        told = ended(processes, AT_MOST_S)
        assert time.monotonic() - begin < AT_MOST_S
    assert [code for code, _, _ in told] == [5, 5], told
    assert error_of(told[0][1]) == (
        f"rank 1 of 2 on host {made[1].name} gave no sign of life for 10 s: it has ended, or the link to it is cut"
    )
    assert f"partkit: rank 0 of 2 on host {made[0].name} did not answer for 10 s at " in told[1][2]


@pytest.mark.nightly
def test_a_cut_that_heals_is_not_noticed(plan: Path, tmp_path: Path) -> None:
    with hosts(2) as made:
        processes = started(plan, made, tmp_path, "--seconds", "12", "--no-check")
        await_step(processes[0], "Measuring")
        time.sleep(2)
        made[1].cut()
        time.sleep(3)
        made[1].heal()
        told = ended(processes, 120)
    assert [code for code, _, _ in told] == [0, 0], told
    assert json.loads(told[0][1])["items"] > 0


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("kill", "rank 1 of 2 on host {host} gave no sign of life for 10 s: it has ended, or the link to it is cut"),
        ("raise", "rank 1 of 2 on host {host} failed: ValueError: the weather is bad at node act"),
    ],
)
def test_a_rank_that_fails_elsewhere_is_named_with_its_host(
    action: str, message: str, plan: Path, tmp_path: Path
) -> None:
    told = tmp_path / "act"
    with hosts(2) as made:
        processes = started(plan, made, tmp_path, "--seconds", "120", "--no-check", **{VARIABLE: str(told)})
        await_step(processes[0], "Measuring")
        time.sleep(2)
        told.write_text(action)
        (code, out, error), (other_code, _, _) = ended(processes, AT_MOST_S)
    expected = 128 + signal.SIGKILL if action == "kill" else 5
    assert (code, other_code) in [(5, expected), (5, -signal.SIGKILL)], error
    assert error_of(out) == message.format(host=made[1].name)
