"""Hosts in network namespaces of this machine, joined by a switch; each has a name of its own and one address."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PORT = 29_511


@functools.cache
def why_not() -> str | None:
    """Why this machine lets nobody make network namespaces; None where it does."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"pk{os.getpid()}probe"
    try:
        _ip("netns", "add", name)
        _ip("netns", "delete", name)
        _ip("link", "add", f"{name[:11]}v", "type", "bridge")
        _ip("link", "delete", f"{name[:11]}v")
    except (OSError, subprocess.CalledProcessError) as error:
        told = getattr(error, "stderr", b"").decode().strip() or str(error)
        return f"network namespaces cannot be made here: {told}"
    return None


@dataclass
class Host:
    """One namespace."""

    name: str
    number: int

    @property
    def address(self) -> str:
        """Its address on the switch."""
        return f"10.213.7.{self.number + 1}"

    @property
    def link(self) -> str:
        """The switch's end of its link."""
        return f"{self.name}s"

    def start(self, arguments: Sequence[str], variables: dict[str, str], hosts: str) -> subprocess.Popen[str]:
        """Run Python there, under the host's own name; ``hosts``: its /etc/hosts. It asks no name server."""
        script = f'hostname {self.name} && mount --bind /dev/null /etc/resolv.conf && mount --bind "$HOSTS" /etc/hosts'
        script += ' && exec "$@"'
        command = ["ip", "netns", "exec", self.name, "unshare", "--uts", "--mount", "sh", "-c", script, "sh"]
        return subprocess.Popen(
            [*command, sys.executable, *arguments],
            env={
                **os.environ,
                "HOSTS": hosts,
                "PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}",
                "OMP_NUM_THREADS": "1",
                **variables,
            },
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def cut(self) -> None:
        """Take the link down: packets go nowhere, and nobody is told."""
        _ip("link", "set", self.link, "down")

    def heal(self) -> None:
        """Take it up again."""
        _ip("link", "set", self.link, "up")


@contextlib.contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """So many hosts on one switch, until the end of the context."""
    made, switch = (
        [Host(f"pk{os.getpid() % 100_000}h{number}", number) for number in range(count)],
        f"pk{os.getpid() % 100_000}w",
    )
    try:
        _ip("link", "add", switch, "type", "bridge")
        _ip("link", "set", switch, "up")
        for host in made:
            _ip("netns", "add", host.name)
            _ip("link", "add", host.link, "type", "veth", "peer", "name", "eth0", "netns", host.name)
            _ip("link", "set", host.link, "master", switch)
            _ip("link", "set", host.link, "up")
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", host.name, "link", "set", device, "up")
        yield made
    finally:
        for host in made:
            found = subprocess.run(["ip", "netns", "pids", host.name], capture_output=True, text=True, check=False)
            for pid in found.stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "link", "delete", host.link], capture_output=True, check=False)
            subprocess.run(["ip", "netns", "delete", host.name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", switch], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], capture_output=True, check=True)
