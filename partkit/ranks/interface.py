"""Which network interface reaches the other hosts of a launch, so that ranks do not offer each other 127.0.0.1."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

import psutil

VARIABLE = "GLOO_SOCKET_IFNAME"
_CHOSEN = "PARTKIT_CHOSEN_IFNAME"
"""What :func:`choose` has set; ranks that are started on this host alone do not take it for the user's wish."""


def own_address(peer: str, port: int) -> str | None:
    """This host's address on the way to a peer's; None where there is no way. Nothing is sent."""
    try:
        kind, _, _, _, address = socket.getaddrinfo(peer, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(kind, socket.SOCK_DGRAM) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError:
        return None


def is_loopback(address: str | None) -> bool:
    """Whether others cannot reach an address.

    >>> is_loopback("127.0.1.1"), is_loopback("10.0.0.1")
    (True, False)
    """
    return not address or address.startswith("127.") or address == "::1"


def choose(addresses: Sequence[str], port: int) -> str | None:
    """Set :data:`VARIABLE` to the interface that reaches the first of the ranks' ``addresses`` that is no loopback.

    Returns the interface that gloo will use; None where the choice is left to it. What the user has set stays.
    """
    if VARIABLE in os.environ:
        return os.environ[VARIABLE]
    own = next((own_address(each, port) for each in addresses if not is_loopback(each)), None)
    name = _interface_of(own)
    if name is not None:
        os.environ[VARIABLE] = os.environ[_CHOSEN] = name
    return name


def wished(variable: str) -> str | None:
    """The interface that the user has set ``variable`` to; None for one that was chosen here."""
    value = os.environ.get(variable)
    return None if variable == VARIABLE and value == os.environ.get(_CHOSEN) else value


def _interface_of(address: str | None) -> str | None:
    if address is None:
        return None
    for name, entries in psutil.net_if_addrs().items():
        if any(entry.address.partition("%")[0] == address for entry in entries):
            return str(name)
    return None
