"""Slurm's environment of a step's task, as the variables that torchrun sets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_NUMBERS = ("STEP_NUM_TASKS", "PROCID", "LOCALID", "NODEID", "JOB_ID")
_FIRST_PORT, _NUM_PORTS = 20_000, 10_000
"""Ports that a job's number is dealt to, so that two jobs of a host meet at different ones."""


def adopt_slurm() -> None:
    """Set RANK and its like where ``srun`` started this process beside others, and no other launcher did."""
    for name, value in translated(os.environ).items():
        os.environ.setdefault(name, value)


def translated(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of torchrun for a task of a Slurm step with several; {} for anything else.

    >>> translated({"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1",
    ...     "SLURM_NODEID": "1", "SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_STEP_NODELIST": "gpu[07-08]",
    ...     "SLURM_JOB_ID": "12345"})["MASTER_ADDR"]
    'gpu07'
    """
    number = {name: environment.get(f"SLURM_{name}", "") for name in _NUMBERS}
    nodes, shares = environment.get("SLURM_STEP_NODELIST", ""), environment.get("SLURM_STEP_TASKS_PER_NODE", "")
    is_task = "RANK" not in environment and "SLURM_STEP_ID" in environment and bool(nodes) and bool(shares)
    if not is_task or not all(value.isdecimal() for value in number.values()) or int(number["STEP_NUM_TASKS"]) < 2:
        return {}
    tasks = tasks_per_node(shares)
    if int(number["NODEID"]) >= len(tasks):
        return {}
    return {
        "RANK": number["PROCID"],
        "WORLD_SIZE": number["STEP_NUM_TASKS"],
        "LOCAL_RANK": number["LOCALID"],
        "LOCAL_WORLD_SIZE": str(tasks[int(number["NODEID"])]),
        "MASTER_ADDR": first_node(nodes),
        "MASTER_PORT": str(_FIRST_PORT + int(number["JOB_ID"]) % _NUM_PORTS),
    }


def tasks_per_node(text: str) -> list[int]:
    """Slurm's list of tasks by node; [] for what is none.

    >>> tasks_per_node("2(x3),1")
    [2, 2, 2, 1]
    """
    counts: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if found is None:
            return []
        counts += [int(found[1])] * min(int(found[2] or 1), 100_000)
    return counts


def first_node(text: str) -> str:
    """The first of Slurm's list of nodes, on which task 0 is.

    >>> first_node("gpu[07-08,12],cpu1"), first_node("a1,a2")
    ('gpu07', 'a1')
    """
    found = re.match(r"([^,\[]*)(?:\[(\d+)[^\]]*\]([^,\[]*))?", text)
    assert found is not None, "every part may be empty"
    return "".join(part or "" for part in found.groups())
