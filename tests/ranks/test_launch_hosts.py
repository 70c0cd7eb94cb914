"""Slurm's environment as torchrun's, and the interface that reaches other hosts."""

from __future__ import annotations

import os

import pytest

from partkit.ranks import interface
from partkit.ranks.slurm import adopt_slurm, translated

STEP = {
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_JOB_ID": "12345",
}


def test_a_task_of_a_step_is_a_rank_as_torchrun_starts_one(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {
        "RANK": "3",
        "WORLD_SIZE": "4",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "gpu07",
        "MASTER_PORT": "22345",
    }
    assert translated(STEP) == expected
    for name, value in STEP.items():
        monkeypatch.setenv(name, value)
    for name in expected:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASTER_PORT", "29999")
    adopt_slurm()
    try:
        assert {name: os.environ[name] for name in expected} == expected | {"MASTER_PORT": "29999"}
    finally:
        for name in expected:
            os.environ.pop(name, None)


@pytest.mark.parametrize(
    "change",
    [
        {"RANK": "0"},  # torchrun, started by srun
        {"SLURM_STEP_NUM_TASKS": "1"},
        {"SLURM_STEP_NUM_TASKS": "many"},
        {"SLURM_STEP_TASKS_PER_NODE": "2(x"},
        {"SLURM_NODEID": "7"},
        {"SLURM_STEP_NODELIST": ""},
    ],
)
def test_what_is_no_task_of_several_is_left_as_it_is(change: dict[str, str]) -> None:
    assert translated(STEP | change) == {}


def test_a_batch_script_is_no_task_of_a_step() -> None:
    assert translated({name: value for name, value in STEP.items() if name != "SLURM_STEP_ID"}) == {}


def test_the_interface_is_chosen_once_and_is_no_wish_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (interface.VARIABLE, interface._CHOSEN):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(interface, "own_address", lambda address, port: {"10.0.0.2": "127.0.0.1"}[address])
    try:
        assert interface.choose(["", "127.0.1.1", "10.0.0.2"], 1) == "lo"
        assert os.environ[interface.VARIABLE] == "lo"
        assert interface.wished(interface.VARIABLE) is None
        monkeypatch.setenv(interface.VARIABLE, "eth7")
        assert interface.choose(["10.0.0.2"], 1) == interface.wished(interface.VARIABLE) == "eth7"
    finally:
        os.environ.pop(interface._CHOSEN, None)
        os.environ.pop(interface.VARIABLE, None)


def test_where_only_loopback_is_known_the_choice_is_left_to_gloo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(interface.VARIABLE, raising=False)
    assert interface.choose(["127.0.0.1", ""], 1) is None
    assert interface.VARIABLE not in os.environ


def test_an_address_is_this_hosts_own() -> None:
    assert interface.own_address("127.0.0.1", 9) == "127.0.0.1"
    assert interface.own_address("no such host.", 9) is None
