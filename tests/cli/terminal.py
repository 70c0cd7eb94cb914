"""Commands in a terminal of a given width: all of them in one process, since starting one takes longest."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

_PROGRAM = """
import json, sys
from partkit_cli.main import main
for command in json.loads(sys.argv[1]):
    try:
        main(command)
    except SystemExit:
        pass
    print("\\f", flush=True)
"""


def shown(
    columns: int, *commands: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> list[str]:
    """What a terminal in ``folder`` shows of each command, both streams together."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "TERM")}
    given = {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, json.dumps(commands)],
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=its,
        cwd=folder,
        env={**given, **(environment or {})},
    )
    os.close(its)
    sent = b""
    while True:
        try:
            more = os.read(ours, 65536)
        except OSError:  # what Linux says where the other end is closed
            break
        if not more:
            break
        sent += more
    os.close(ours)
    process.wait()
    return sent.decode().replace("\r\n", "\n").split("\f\n")[:-1]
