"""Which packages can be imported, found out in processes of their own, so that one that crashes takes nothing along."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from partkit.ranks.fork_client import import_paths
from partkit.runs.doctor.import_probe import CUDA_START

_MOST_S = 180


@dataclass(frozen=True)
class Imported:
    """How the import of one package went."""

    fault: str | None = None
    """None: it was imported."""
    is_missing: bool = False
    file: str | None = None


@dataclass
class Imports:
    """How each package's import went, and what torch tells of itself."""

    by_name: dict[str, Imported] = field(default_factory=dict)
    torch: Mapping[str, Any] = field(default_factory=dict)

    def fault(self, name: str) -> str | None:
        """Why a package cannot be imported; None where it can, or was not asked for."""
        found = self.by_name.get(name)
        return None if found is None else found.fault


def try_imports(names: Sequence[str]) -> Imports:
    """Import packages as ranks would: with this process's import paths, and nothing repaired."""
    found, left = Imports(), list(names)
    while left:
        left = _try(left, found)
    return found


def _try(names: list[str], found: Imports) -> list[str]:
    """One process's worth of imports; returns the names that it did not come to."""
    command = [sys.executable, "-P", "-m", "partkit.runs.doctor.import_probe", *names]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(import_paths())}
    try:
        ended = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_MOST_S, check=False
        )
        text, reason = ended.stdout, _reason(ended.returncode)
    except subprocess.TimeoutExpired as error:
        text, reason = error.stdout or b"", f"its import took more than {_MOST_S} s"
    except OSError as error:
        text, reason = b"", f"no process could be started: {error.strerror}"
    begun: str | None = None
    for line in text.decode(errors="replace").splitlines():
        told = json.loads(line)
        if "begins" in told:
            begun = told["begins"]
        elif "torch" in told:
            found.torch = told["torch"]
        else:
            name = told["name"]
            found.by_name[name] = Imported(told.get("fault"), told.get("is_missing", False), told.get("file"))
            begun = None
    if begun is None and any(name not in found.by_name for name in names):
        begun = next(name for name in names if name not in found.by_name)  # it never came to say that it began
    if begun == CUDA_START:
        found.torch = {"fault": reason}
    elif begun is not None:
        found.by_name[begun] = Imported(reason)
    return [name for name in names if name not in found.by_name]


def _reason(code: int) -> str:
    if code < 0:
        return f"the process was ended by {signal.Signals(-code).name} while it imported"
    return f"the process ended with code {code} while it imported"
