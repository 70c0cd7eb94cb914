"""Broken files for every reader: each must be read or refused in one sentence, in bounded time and memory, alone.

    PYTHONPATH=.:cli python3 benchmarks/faults/fuzz.py --inputs 100000 --seconds 600 -o fuzz.json

A reader has a process of its own. An input is a failure where anything but a :class:`PartkitError` with exit code 2
to 4 comes out, the message is longer than 4 KiB, it takes more than 5 s of a core or the process grows by more than
512 MB, a program or a connection is started, or a file is opened outside its folder, Python's own and the system's.
Inputs that fail are kept.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.faults.readers import READERS
from partkit.errors import PartkitError

_MOST_S, _MOST_BYTES, _MOST_MESSAGE = 5.0, 512 << 20, 4096
_STARTS = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "ctypes.dlopen")
_OWN = (
    sys.prefix,
    sys.base_prefix,
    "/proc",
    "/sys",
    "/dev/null",
    "/usr",
    "/lib",
    "/etc/ld.so",
    str(Path(__file__).parents[2]),
)
"""Where Python and libraries read from by themselves."""


class Watch:
    """Notes what is started or opened, while it is on."""

    def __init__(self, folders: tuple[str, ...]) -> None:
        self.seen: list[str] = []
        self.is_on = False
        self._allowed = (*_OWN, *folders)
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        if event in _STARTS:
            self.seen.append(f"{event} {arguments!r:.200}")
        elif event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if not path.startswith(self._allowed):
                self.seen.append(f"open {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="inputs of each reader")
    parser.add_argument("--seconds", type=float, default=600.0, help="most time of each reader")
    parser.add_argument("--readers", nargs="*", default=list(READERS), choices=list(READERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    print(f"{'reader':<12} {'inputs':>7} {'read':>7} {'refused':>7} {'longest s':>9} {'grown MB':>8} failures")
    for name in options.readers:
        row = found[name] = fuzz(name, options.inputs, options.seconds, options.seed, options.keep)
        print(
            f"{name:<12} {row['inputs']:>7} {row['read']:>7} {row['refused']:>7} {row['longest_s']:>9.2f} "
            f"{row['grown_bytes'] / 1e6:>8.0f} {len(row['failures'])}",
            flush=True,
        )
        for failure in row["failures"][:5]:
            print(f"    {failure}")
        if options.output is not None:
            options.output.write_text(json.dumps(found, indent=2) + "\n")
    sys.exit(any(row["failures"] for row in found.values()))


def fuzz(name: str, inputs: int, seconds: float, seed: int, keep: Path) -> dict[str, Any]:
    """One reader in a process of its own; what became of its inputs."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(
        target=lambda: sender.send(attack(name, inputs, seconds, seed, keep))
    )
    process.start()
    sender.close()
    try:
        row: dict[str, Any] = receiver.recv()
    except EOFError:
        process.join()
        return {
            "inputs": 0, "read": 0, "refused": 0, "longest_s": 0.0, "grown_bytes": 0,
            "failures": [f"the process ended with {process.exitcode}"],
        }  # fmt: skip
    process.join()
    return row


def attack(name: str, inputs: int, seconds: float, seed: int, keep: Path) -> dict[str, Any]:
    """Try a reader on as many broken files as there is time for."""
    draw, failures = random.Random(f"{name} {seed}"), list[str]()
    count = {"read": 0, "refused": 0}
    longest_s = 0.0
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
        os.environ["XDG_CACHE_HOME"] = f"{home}/cache"
        folder, reader, watch = Path(home) / "given", READERS[name](), Watch((os.path.realpath(home),))
        begin, base = time.monotonic(), 0
        for number in range(inputs):
            if time.monotonic() - begin > seconds:
                break
            reader.write(folder, draw)
            watch.is_on, started = number >= 20, time.process_time()  # what is imported at first is looked at as well
            outcome, fault = tried(reader.read, folder)
            watch.is_on = False
            took_s = time.process_time() - started
            longest_s = max(longest_s, took_s if number >= 20 else 0.0)
            count[outcome] = count.get(outcome, 0) + 1
            told = [fault] if fault else []
            told += watch.seen + ([f"took {took_s:.1f} s"] if took_s > _MOST_S and number >= 20 else [])
            watch.seen = []
            if told:
                failures.append(f"{name} {number}: {'; '.join(told)[:300]}")
                if len(failures) <= 20:
                    shutil.copytree(home, keep / f"{name.replace(' ', '-')}-{seed}-{number}", dirs_exist_ok=True)
            if number == 20:
                begin = time.monotonic()
            base = base or (psutil.Process().memory_info().rss if number >= 20 else 0)
        tried_count = sum(count.values())
    grown = max(0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - base) if base else 0
    if grown > _MOST_BYTES:
        failures.append(f"{name}: grew by {grown / 1e6:.0f} MB")
    return {
        "inputs": tried_count, "read": count["read"], "refused": count["refused"], "longest_s": round(longest_s, 3),
        "grown_bytes": grown, "failures": failures,
    }  # fmt: skip


def tried(read: Any, folder: Path) -> tuple[str, str | None]:
    """What became of one input: read or refused, and what was wrong with that."""
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(60)
    try:
        read(folder)
    except PartkitError as error:
        text = str(error)
        if error.exit_code not in (2, 3, 4):
            return "refused", f"exit code {error.exit_code}: {text}"
        if len(text) > _MOST_MESSAGE or "\n" in text:
            return "refused", f"a message of {len(text)} characters: {text[:100]!r}"
        return "refused", None
    except BaseException as error:  # noqa: BLE001 - whatever comes out is what is looked for
        return "failed", f"{type(error).__name__}: {str(error)[:200]!r}"
    finally:
        signal.alarm(0)
    return "read", None


def _too_long(*_: object) -> None:
    raise TimeoutError("60 s")


if __name__ == "__main__":
    main()
