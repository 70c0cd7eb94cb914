"""Which addresses processes listen on, as /proc tells."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import psutil

_LISTEN = "0A"


def listening(pids: Iterable[int]) -> list[IPv4Address | IPv6Address]:
    """The addresses of the TCP sockets on which processes wait for connections; unix sockets do not count."""
    inodes = {inode for pid in pids for inode in _sockets(pid)}
    addresses: list[IPv4Address | IPv6Address] = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and fields[9] in inodes:
                addresses.append(_address(fields[1].partition(":")[0]))
    return addresses


def own_family() -> list[int]:
    """This process and all that it has started, and they."""
    return [os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))]


def _sockets(pid: int) -> list[str]:
    try:
        targets = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:  # it has ended, or closed one meanwhile
        return []
    return [target[len("socket:[") : -1] for target in targets if target.startswith("socket:[")]


def _address(text: str) -> IPv4Address | IPv6Address:
    words = [int(text[place : place + 8], 16) for place in range(0, len(text), 8)]
    packed = b"".join(struct.pack("=I", word) for word in words)
    if len(packed) == 4:
        return IPv4Address(packed)
    address = IPv6Address(packed)
    return address.ipv4_mapped or address
