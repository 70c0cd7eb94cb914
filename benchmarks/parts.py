"""A benchmark in parts: each a partkit command with a time limit of its own, whose result file is kept.

A part whose result is there already is not run again, so that a benchmark that ran out of time is finished by giving
the same command once more.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Part:
    """One command that writes a JSON result; ``{out}`` in its arguments is the folder of results."""

    name: str
    arguments: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    """Environment variables."""
    limit_s: float = 180.0

    @property
    def command(self) -> str:
        """As typed, without the result's path."""
        words = [f"{name}={value}" for name, value in self.settings.items()]
        return " ".join([*words, "partkit", shlex.join(self.arguments)])


@dataclass(frozen=True)
class Outcome:
    """What became of a part."""

    name: str
    command: str
    seconds: float
    problem: str | None
    """Why there is no result, or none that is valid."""
    result: str | None
    """Its file's name."""


def run_parts(parts: Sequence[Part], out: Path, *, limit_s: float) -> list[Outcome]:
    """Run the parts that have no result yet, in order, within ``limit_s`` seconds in all."""
    out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + limit_s
    known = {entry["name"]: Outcome(**entry) for entry in _read(out / "outcomes.json")}
    outcomes = []
    for part in parts:
        outcome = known.get(part.name)
        if outcome is None or outcome.result is None:
            outcome = _run(part, out, min(part.limit_s, end - time.monotonic()))
        outcomes.append(outcome)
        print(f"{outcome.seconds:6.1f} s  {part.command}  {outcome.problem or ''}", file=sys.stderr, flush=True)
        _write(out / "outcomes.json", [asdict(each) for each in outcomes])
    return outcomes


def _run(part: Part, out: Path, limit_s: float) -> Outcome:
    if limit_s < 1:
        return Outcome(part.name, part.command, 0.0, "not run: out of time; give the same command again", None)
    path = out / f"{part.name}.json"
    arguments = [argument.replace("{out}", str(out)) for argument in part.arguments]
    begin = time.monotonic()
    with (out / f"{part.name}.log").open("w", encoding="utf-8") as log:
        try:
            code = subprocess.run(
                [sys.executable, "-m", "partkit_cli", *arguments, "-o", str(path)],
                env={**os.environ, **part.settings},
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=limit_s,
                check=False,
            ).returncode
            problem = None if code == 0 else f"exit code {code}: see {log.name}"
        except subprocess.TimeoutExpired:  # ranks end with the process that started them
            problem = f"ended after {limit_s:.0f} s: see {log.name}"
    result = path.name if path.is_file() else None
    return Outcome(part.name, part.command, time.monotonic() - begin, problem, result)


def _read(path: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return found


def _write(path: Path, data: object) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
