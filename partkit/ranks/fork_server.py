"""``python -m partkit.ranks.fork_server FD``: imports what ranks need, then forks one for each order on the socket FD.

See :mod:`partkit.ranks.fork_client`. It ends with its parent, whose end of the socket closes; its ranks end with it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from partkit.ranks import rank

_LOOK_S = 0.02
"""Seconds between looks for ranks that have ended."""


def main() -> int:
    """Serve until the parent is gone."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    _import_models()
    gc.collect()
    gc.freeze()  # a collection in a rank would copy what it shares with this process
    number_by_pid: dict[int, int] = {}
    unread = b""
    while True:
        if select.select([channel], [], [], _LOOK_S if number_by_pid else None)[0]:
            data = channel.recv(65536)
            if not data:
                return 0
            *lines, unread = (unread + data).split(b"\n")
            for line in lines:
                order = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    _become_rank(order, channel)
                number_by_pid[pid] = order["number"]
                _tell(channel, number=order["number"], pid=pid)
        while number_by_pid:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            _tell(channel, number=number_by_pid.pop(pid), code=os.waitstatus_to_exitcode(status), at=time.time())


def _import_models() -> None:
    """What nearly every rank imports before it can capture a model.

    A package that can't be imported stops no model that does without it: one that needs it says so, in its rank.
    """
    import torch._dynamo
    import torch.export  # noqa: F401

    for name in ("transformers.modeling_utils", "transformers.masking_utils"):
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 - a broken package raises anything at its import
            traceback.print_exc()
            return


def _tell(channel: socket.socket, **message: float) -> None:
    channel.sendall(json.dumps(message).encode() + b"\n")


def _become_rank(order: dict[str, Any], channel: socket.socket) -> None:
    """In the forked process: set it up as if it had been started by itself, run the rank, and never return."""
    code = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # as a program of its own: it ends, and of that
            signal.signal(number, signal.SIG_DFL)
        channel.close()
        output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.clear()
        os.environ.update(order["environment"])
        os.chdir(order["cwd"])
        sys.path[:] = order["import_paths"]
        sys.argv = order["argv"]  # results tell the command that the user gave
        random.seed()
        code = rank.main(Path(order["log_dir"]))
    except BaseException:  # noqa: BLE001 - nothing may return into the server's loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
