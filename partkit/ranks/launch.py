"""What a launcher (torchrun, Slurm) has set in the environment of a process that it started, or somebody left there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Self

from partkit.errors import UsageError

NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What a rank of a launch needs; with fewer of them a process starts its own ranks."""
_MARKS = ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
"""Of which a launcher sets one beside them; the four alone may be left over, or set by hand."""
_LAUNCHED_WAIT_S, _BARE_WAIT_S = 300, 60


def started_by_launcher() -> bool:
    """True where this process is a rank of someone else's launch (torchrun, Slurm)."""
    return set(NAMES) <= set(os.environ) and "PARTKIT_RANK" not in os.environ


def left_over() -> str | None:
    """One sentence about variables of a launch that is none, since some are missing; None where nothing is left."""
    found = [name for name in NAMES[:2] if name in os.environ]
    if not found or started_by_launcher() or "PARTKIT_RANK" in os.environ:
        return None
    values = ", ".join(f"{name}={os.environ[name]}" for name in found)
    missing = ", ".join(name for name in NAMES if name not in os.environ)
    return (
        f"{values} is set in the environment and {missing} is not, so this is no rank of a launch and starts its own; "
        f"'{_without(found)}' runs it without"
    )


@dataclass(frozen=True)
class Launch:
    """This process's place in a launch."""

    rank: int
    world_size: int
    address: str
    port: int

    @classmethod
    def of_environment(cls) -> Self:
        """As the variables have it. Raises :class:`UsageError` for values that no launcher sets."""
        numbers = {}
        for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"):
            if not os.environ[name].strip().isdecimal():
                raise UsageError(
                    f"{name}={os.environ[name]} in the environment is no number, so no launcher set it",
                    hint=f"'{_without(NAMES)}' runs the plan without",
                )
            numbers[name] = int(os.environ[name])
        if numbers["RANK"] >= numbers["WORLD_SIZE"]:
            raise UsageError(
                f"RANK={numbers['RANK']} in the environment is not below WORLD_SIZE={numbers['WORLD_SIZE']}",
                hint=f"'{_without(NAMES)}' runs the plan without",
            )
        return cls(numbers["RANK"], numbers["WORLD_SIZE"], os.environ["MASTER_ADDR"], numbers["MASTER_PORT"])

    @property
    def has_launcher(self) -> bool:
        """False for the four variables alone."""
        return any(name in os.environ for name in _MARKS)

    @property
    def has_agent_store(self) -> bool:
        """True where torchrun's agent keeps the store that ranks meet at."""
        return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"

    @property
    def wait_s(self) -> int:
        """Longest that ranks wait for each other."""
        return _LAUNCHED_WAIT_S if self.has_launcher else _BARE_WAIT_S

    @property
    def num_others(self) -> int:
        """Ranks of the launch besides this one."""
        return self.world_size - 1

    @property
    def told(self) -> str:
        """What the environment says, for people."""
        return f"the environment makes this rank {self.rank} of {self.world_size} at {self.address}:{self.port}"

    @property
    def or_without(self) -> str:
        """What to do where the variables are left over; nothing where a launcher shows itself."""
        if self.has_launcher:
            return ""
        return f"; if nothing launched it, '{_without(NAMES)}' runs it alone"


def _without(names: tuple[str, ...] | list[str]) -> str:
    return f"env {' '.join(f'-u {name}' for name in names)} partkit run ..."
